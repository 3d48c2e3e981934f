//! Trees large in every direction: memory, descriptors and threads do not grow with them.
//!
//! `MMAPCP_MILLION=1` makes the trees as large as the promise is: a million entries.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::support::*;

/// What a run with a million entries may hold in memory at its peak.
const MAX_PEAK_BYTES: u64 = 64 * MIB;

/// What 60,000 entries may add to what a handful takes: 32 bytes of each would be 1.9 MB. A debug build had 0.2 MB.
const MAX_TREE_GROWTH_BYTES: u64 = 3 * MIB / 2;

/// What 100,000 names in one directory may add. They were 2.9 MB: inode, place and the name itself.
const MAX_DIRECTORY_GROWTH_BYTES: u64 = 5 * MIB;

/// A million entries take a debug build a minute.
const LARGE_TREE_TIMEOUT: Duration = Duration::from_secs(600);

fn is_million() -> bool {
    std::env::var_os("MMAPCP_MILLION").is_some_and(|v| v == "1")
}

/// `directories` of `files` each, empty.
fn plant(root: &Path, directories: usize, files: usize) {
    for d in 0..directories {
        let dir = root.join(format!("directory-{d}"));
        fs::create_dir_all(&dir).unwrap();
        for f in 0..files {
            File::create(dir.join(format!("file-{f}"))).unwrap();
        }
    }
}

/// How many entries there are below a directory, itself counted.
fn entries(dir: &Path) -> usize {
    let found = Command::new("find")
        .arg(dir)
        .args(["-printf", "x"])
        .output();
    found.unwrap().stdout.len()
}

/// Copies, and tells the most memory that the process ever had.
fn peak(options: &[&str], from: &Path, to: &Path) -> u64 {
    let mut running = Running::start(mmapcp().args(options).arg(from).arg(to));
    let status = format!("/proc/{}/status", running.pid());
    let mut most = 0;
    while !running.has_ended() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * KIB);
        thread::sleep(Duration::from_millis(1));
    }
    let output = running.finish_within(LARGE_TREE_TIMEOUT);
    assert_exit_in(&output, 0, format!("{options:?}"));
    assert!(most > 0, "the peak was seen");
    most
}

/// `more` is what is allowed beyond what a small tree takes.
fn stays_flat(directories: usize, files: usize, more: Option<u64>) {
    let shm = shm_dir();
    let (from, to) = (shm.path().join("from"), shm.path().join("to"));
    let small = shm.path().join("small");
    // Enough that it is seen at work: the peak of a process that ends at once is missed by who looks each millisecond.
    plant(&small, 20, 50);
    plant(&from, directories, files);
    for options in [&["-r"][..], &["-a"], &["-r", "--jobs=1"]] {
        let little = peak(options, &small, &shm.path().join("little"));
        let most = peak(options, &from, &to);
        let bound = more.map_or(MAX_PEAK_BYTES, |more| little + more);
        eprintln!(
            "{directories} x {files} {options:?}: {most} bytes at the peak, of a small tree {little}"
        );
        assert_eq!(entries(&to), 1 + directories + directories * files);
        assert!(most < bound, "{options:?}: {most} bytes at the peak");
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn memory_does_not_grow_with_the_directories_of_a_tree() {
    stays_flat(3000, 19, Some(MAX_TREE_GROWTH_BYTES));
    if is_million() {
        stays_flat(1000, 999, None);
    }
}

#[test]
fn memory_does_not_grow_with_the_files_of_a_directory_but_by_their_names() {
    stays_flat(1, 100_000, Some(MAX_DIRECTORY_GROWTH_BYTES));
    if is_million() {
        stays_flat(1, 999_998, None);
    }
}

/// More levels than PATH_MAX has room for.
const LEVELS: usize = 2500;

fn deep(root: &Path, levels: usize) {
    fs::create_dir(root).unwrap();
    let script = format!(
        "i=0; while [ $i -lt {levels} ]; do mkdir d && cd -P d || exit 9; i=$((i+1)); done; echo leaf > leaf; ln leaf link"
    );
    let mut shell = Command::new("sh");
    let made = shell.args(["-c", &script]).current_dir(root);
    assert!(made.status().unwrap().success());
}

#[test]
fn a_deep_tree_is_copied_with_every_option_that_works_by_names() {
    let shm = shm_dir();
    let (from, to) = (shm.path().join("from"), shm.path().join("to"));
    deep(&from, LEVELS);
    for options in [
        &["-a"][..],
        &["-rT"],
        &["-aT"],
        &["-aT", "--backup"],
        &["-aT", "--backup=numbered", "--atomic"],
        &["-rT", "--atomic", "--fsync"],
        &["-aT", "--remove-destination", "--jobs=1"],
        &["-rlTf"],
    ] {
        let output = run(mmapcp().args(options).arg(&from).arg(&to));
        assert_exit_in(&output, 0, format!("{options:?}"));
        assert!(entries(&to) >= LEVELS + 3, "{options:?}");
    }
}

#[test]
fn a_hundred_levels_are_copied_as_they_are() {
    let shm = shm_dir();
    let (from, to) = (shm.path().join("from"), shm.path().join("to"));
    deep(&from, 100);
    for options in ["-r", "-aT", "-abT", "-rlTf"] {
        let output = run(mmapcp().arg(options).arg(&from).arg(&to));
        assert_exit_in(&output, 0, options);
    }
    assert_eq!(entries(&to), 100 + 3 + 2, "two backups");
}

// ---------------------------------------------------------------- without room for more

/// Copies with a limit that only root could raise again.
fn limited(
    limit: &str,
    user: fn(&mut Command) -> &mut Command,
    words: &[&str],
    at: &Path,
) -> Output {
    let (_place, bin) = public_bin_dir();
    let script = format!(r#"ulimit {limit} || exit 99; exec "$0" "$@""#);
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(bin.join("mmapcp"))
        .args(words);
    run(user(command.env("LC_ALL", "C").current_dir(at)))
}

#[test]
fn few_descriptors_are_enough() {
    let shm = shm_dir();
    plant(&shm.path().join("wide"), 20, 40);
    deep(&shm.path().join("deep"), 200);
    let wide: [&[&str]; 4] = [
        &["-r"],
        &["-a", "--jobs=4"],
        &["-a", "--atomic", "--jobs=4"],
        &["-r", "--fsync"],
    ];
    for (n, options) in wide.iter().enumerate() {
        let to = format!("wide-{n}");
        let words = [options, &["wide", &to][..]].concat();
        let output = limited("-n 64", |command| command, &words, shm.path());
        assert_exit_in(&output, 0, format!("{words:?}"));
        assert_eq!(entries(&shm.path().join(to)), 1 + 20 + 800);
    }
    if !is_root_or_skip("few_descriptors_are_enough") {
        return;
    }
    // Root would raise the limit.
    for (n, options) in [
        &["-r", "--jobs=1"][..],
        &["-r", "--jobs=4"],
        &["-a"],
        &["-rL"],
    ]
    .iter()
    .enumerate()
    {
        let to = format!("deep-{n}");
        let words = [options, &["deep", &to][..]].concat();
        let output = limited("-n 64", as_nobody, &words, shm.path());
        assert_exit_in(&output, 0, format!("{words:?}"));
        assert_eq!(entries(&shm.path().join(&to)), 200 + 3, "{words:?}");
    }
}

/// Each directory is reached by a link to one that is not below it, so `..` does not lead back to it.
#[test]
fn few_descriptors_are_enough_where_links_lead_down() {
    let shm = shm_dir();
    let script = r#"
        set -e
        for i in $(seq 35); do mkdir d$i; ln -s ../d$((i+1)) d$i/down; echo $i > d$i/z; done
        mkdir d36
        cp -rL d1 want
        ulimit -n 64
        "$OWN" -rL --jobs=4 d1 got
        diff -r want got
        # The same on the other side.
        mkdir to; for i in $(seq 35); do mkdir to/t$i; ln -s ../t$((i+1)) to/t$i/down; done; mkdir to/t36
        "$OWN" -rLT --keep-directory-symlink --jobs=4 d1 to/t1
        diff -r want to/t1
        test -L to/t1/down
    "#;
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).env("OWN", &*MMAPCP);
    let output = run(shell.current_dir(shm.path()));
    assert_exit(&output, 0);
}

/// The walk is far below, waiting for a FIFO, when the directory that it will come back to is moved elsewhere and a link
/// has its name.
#[test]
fn a_directory_that_was_swapped_while_it_was_closed_is_not_entered() {
    let shm = shm_dir();
    let script = r#"
        set -e
        mkdir -p from/1/2/3/4/5/6/7/8/9 victim evil
        mkfifo from/1/2/3/4/5/6/7/8/9/fifo
        for d in from/1/2/3 from/1/2 from/1 from; do echo late > $d/z; done
        ulimit -n 64
        "$OWN" -r --copy-contents --jobs=1 from to 2> said & copy=$!
        until [ -d to/1/2/3/4/5/6/7/8/9 ]; do sleep 0.01; done
        mv to/1/2/3 evil/3; mv to/1/2 evil/2; ln -s ../../victim to/1/2
        echo through > from/1/2/3/4/5/6/7/8/9/fifo
        wait $copy && exit 9
        cat said >&2
        grep -q "cannot access 'from/1/2'" said
        test -z "$(ls victim)"
        # What is above it is copied all the same.
        cmp from/1/z to/1/z; cmp from/z to/z
        test "$(cat evil/3/4/5/6/7/8/9/fifo)" = through
    "#;
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).env("OWN", &*MMAPCP);
    let output = run(shell.current_dir(shm.path()));
    assert_exit(&output, 0);
}

#[test]
fn without_a_second_thread_one_thread_copies_all() {
    let shm = shm_dir();
    plant(&shm.path().join("from"), 5, 100);
    let words = ["-r", "--jobs=4", "from", "to"];
    if !is_root_or_skip("without_a_second_thread_one_thread_copies_all") {
        return;
    }
    // dash and bash have different letters for it. Other processes of nobody count as well, so none more is to be had.
    for limit in ["-p 1", "-u 1"] {
        let output = limited(&format!("{limit} 2>&-"), as_nobody, &words, shm.path());
        if output.status.code() == Some(99) {
            continue;
        }
        assert_exit(&output, 0);
        assert_eq!(entries(&shm.path().join("to")), 1 + 5 + 500);
        return;
    }
    panic!("sh knows no limit of processes");
}
