//! The line on a terminal while `forklat run` measures.

use super::{COMMAND_TIME_ONLY, FORKLAT, RunFixture};
use crate::support::{assert_exit, lossy_string, run};

/// What a terminal 100 columns wide shows of a run with these words.
fn screen(place: &RunFixture, words: &str) -> String {
    let bare = COMMAND_TIME_ONLY.join(" ");
    let line = format!("stty cols 100; exec '{FORKLAT}' run {bare} {words}");
    let output = run(place
        .command_with_mark("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm"));
    assert_exit(&output, 0);
    lossy_string(&output.stdout)
}

#[test]
fn shows_the_worst_and_the_memory() {
    let place = RunFixture::new();
    let screen = screen(&place, "--probe=fork --for=1s");
    let mut lines = screen.split(['\r', '\n']);
    let live = |line: &&str| line.contains(" available, ") && line.contains("max ms: fork ");
    assert!(lines.any(|line| live(&line)), "{screen:?}");
    let (_, table) = screen.rsplit_once("machine:").expect("the table");
    assert!(!table.contains("watching"), "the line has gone: {screen:?}");
    place.assert_only(&[]);
}

#[test]
fn is_not_shown_without_a_terminal() {
    let place = RunFixture::new();
    let screen = screen(&place, "--probe=fork --for=300ms 2>aside");
    assert!(screen.starts_with("machine:"), "{screen:?}");
    assert_eq!(std::fs::read(place.path("aside")).unwrap(), b"");
}
