//! The line on a terminal while `forklat run` measures.

use super::{BARE, FORKLAT, Place};
use crate::support::{lossy, run, told};

/// What a terminal 100 columns wide shows of a run with these words.
fn screen(place: &Place, words: &str) -> String {
    let bare = BARE.join(" ");
    let line = format!("stty cols 100; exec '{FORKLAT}' run {bare} {words}");
    let output = run(place
        .in_it("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm"));
    assert!(output.status.success(), "{}", told(&output));
    lossy(&output.stdout)
}

#[test]
fn shows_the_worst_and_the_memory() {
    let place = Place::new();
    let screen = screen(&place, "--probe=fork --for=1s");
    let mut lines = screen.split(['\r', '\n']);
    let live = |line: &&str| line.contains(" available, ") && line.contains("max ms: fork ");
    assert!(lines.any(|line| live(&line)), "{screen:?}");
    let (_, table) = screen.rsplit_once("machine:").expect("the table");
    assert!(!table.contains("watching"), "the line has gone: {screen:?}");
    place.assert_only(&[]);
}

#[test]
fn is_not_shown_where_nobody_looks() {
    let place = Place::new();
    let screen = screen(&place, "--probe=fork --for=300ms 2>aside");
    assert!(screen.starts_with("machine:"), "{screen:?}");
    assert_eq!(std::fs::read(place.path("aside")).unwrap(), b"");
}
