//! Another user swaps names while root copies: in a source that is his, and in a directory that he may write to.
//!
//! `MMAPCP_ATTACKS` is how many copies each test makes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, mkfifo, setfsgid, setfsuid};

use crate::seeded_rng::SeededRng;
use crate::support::*;

/// Enough that every race was met before the copier was mended, and some ten seconds.
const DEFAULT_COPIES: u64 = 200;

/// What never leaves the secret.
const MARKER: &[u8] = b"only for root";

fn copies() -> u64 {
    let asked = std::env::var("MMAPCP_ATTACKS").ok();
    asked.map_or(DEFAULT_COPIES, |n| {
        n.parse().expect("MMAPCP_ATTACKS is a number")
    })
}

/// Runs `copy` for as often as was asked, while threads that are nobody to the file system swap names. Returns their swaps.
fn under_attack(swap: impl Fn(&mut SeededRng) -> bool + Sync, mut copy: impl FnMut(u64)) -> u64 {
    /// Ends the threads, also when an assertion fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let end = End(&over);
        for seed in 1..=2 {
            let (over, swaps, swap) = (&over, &swaps, &swap);
            scope.spawn(move || {
                // Both are a thread's own, and take its privileges over files along.
                setfsgid(Gid::from_raw(NOBODY));
                setfsuid(Uid::from_raw(NOBODY));
                let mut dice = SeededRng(seed << 40 | 0x7f4a_7c15);
                while !over.load(Ordering::Relaxed) {
                    if swap(&mut dice) {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        (0..copies()).for_each(&mut copy);
        drop(end);
    });
    swaps.into_inner()
}

/// Two names change places.
fn exchange(one: &Path, other: &Path) -> bool {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

/// Everything below `dir`, by no link.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

/// Gives everything in a place to nobody.
fn give_away(dir: &Path) {
    for path in below(dir).iter().map(PathBuf::as_path).chain([dir]) {
        std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A copy ends by itself, whatever it met. Returns whether it met something.
fn ends(command: &mut Command) -> bool {
    let output = run(command);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{command:?}: {}",
        describe_output(&output)
    );
    assert!(
        !describe_output(&output).contains("panicked"),
        "{}",
        describe_output(&output)
    );
    code == Some(1)
}

const FILES: [&str; 4] = ["f0", "f1", "d/g0", "d/e/h0"];
const DIRECTORIES: [&str; 2] = ["d", "d/e"];

/// A tree with these files, and what they hold before their name.
fn plant(dir: &Path, content: &[u8]) {
    fs::create_dir_all(dir.join("d/e")).unwrap();
    for file in FILES {
        fs::write(dir.join(file), [content, file.as_bytes()].concat()).unwrap();
    }
}

// ---------------------------------------------------------------- the source

const SOURCE_OPTIONS: [&[&str]; 8] = [
    &["-r", "--jobs=1"],
    &["-r", "--jobs=4"],
    &["-a"],
    &["-rp", "--parents"],
    &["-r", "--atomic"],
    &["-rlP"],
    &["-rpx", "--attributes-only"],
    &["-a", "--sparse=always", "--backup"],
];

/// Names in the source, and in `aside` what they change places with.
fn source_swaps(root: &Path) -> Vec<(PathBuf, PathBuf)> {
    let (tree, aside, secret) = (root.join("src/t"), root.join("aside"), root.join("secret"));
    let mut swaps = Vec::new();
    for name in FILES.iter().chain(&DIRECTORIES) {
        let other = |what: &str| aside.join(format!("{what}-{}", name.replace('/', "-")));
        symlink(secret.join(name), other("link")).unwrap();
        mkfifo(&other("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(other("dir")).unwrap();
        symlink(secret.join("f0"), other("dir").join("h0")).unwrap();
        fs::hard_link(tree.join("f1"), other("hard")).unwrap();
        for what in ["link", "link", "link", "fifo", "dir", "hard"] {
            swaps.push((tree.join(name), other(what)));
        }
    }
    swaps
}

#[test]
fn a_source_that_its_owner_swaps_does_not_lead_to_secrets() {
    if !is_root_or_skip("a_source_that_its_owner_swaps_does_not_lead_to_secrets") {
        return;
    }
    let shm = shm_dir();
    let root = shm.path();
    plant(&root.join("src/t"), b"his own ");
    plant(&root.join("secret"), MARKER);
    fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(root.join("aside")).unwrap();
    let swaps = source_swaps(root);
    give_away(&root.join("src/t"));
    give_away(&root.join("aside"));
    chown(root.join("src"), Some(NOBODY), Some(NOBODY)).unwrap();
    let secrets: Vec<u64> = below(&root.join("secret"))
        .iter()
        .map(|path| fs::metadata(path).unwrap().ino())
        .collect();
    let mut met = 0;
    let swap = |dice: &mut SeededRng| {
        let (name, other) = dice.pick(&swaps);
        let done = exchange(name, other);
        // Most of the time the tree is whole.
        if dice.below(2) == 0 {
            thread::yield_now();
        }
        done && exchange(name, other)
    };
    let swapped = under_attack(swap, |n| {
        let to = root.join("to");
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        let mut command = mmapcp();
        command
            .args(SOURCE_OPTIONS[n as usize % SOURCE_OPTIONS.len()])
            .current_dir(root);
        met += u64::from(ends(command.args(["src/t", "to"])));
        for path in below(&to) {
            let meta = fs::symlink_metadata(&path).unwrap();
            let linked = meta.is_file() && secrets.contains(&meta.ino());
            assert!(!linked, "{command:?}: {}", path.display());
            if meta.is_file() {
                let content = fs::read(&path).unwrap();
                assert!(
                    !content.starts_with(MARKER),
                    "{command:?}: {}",
                    path.display()
                );
            }
        }
    });
    eprintln!("{} copies, {swapped} swaps, {met} copies met one", copies());
    assert!(swapped > copies() && met > 0, "{swapped} swaps, {met} met");
}

// ---------------------------------------------------------------- the destination

/// Options, and operands in `src`.
const DEST_COMMANDS: [(&[&str], &[&str]); 14] = [
    (&["-r"], &["t"]),
    (&["-r", "--jobs=1"], &["t"]),
    (&["-a", "--jobs=4"], &["t"]),
    (&["-a", "--atomic"], &["t"]),
    (&["-r", "--backup=numbered"], &["t"]),
    (&["-ab"], &["t"]),
    (&["-r", "--remove-destination"], &["t"]),
    (&["-rf"], &["t"]),
    (&["-a", "--parents"], &["t/d/e/h0", "t/f0", "t/own"]),
    (&["--parents", "--jobs=1"], &["t/d/g0", "t/own/o0"]),
    (&["-p"], &["t/f0", "t/f1", "t/link1", "t/link2"]),
    (
        &["-df", "--preserve=links"],
        &["t/f0", "t/link1", "t/link2", "t/sym"],
    ),
    (&["-b", "--atomic"], &["t/f0", "t/f1"]),
    (&["-rlP"], &["t"]),
];

/// Names below the destination that are swapped.
const SWAPPED_NAMES: [&str; 22] = [
    "t",
    "t",
    "t",
    "t/d",
    "t/d",
    "t/d/e",
    "t/own",
    "t/own/o0",
    "t/f0",
    "t/f1",
    "t/d/g0",
    "t/d/e/h0",
    "t/link1",
    "t/link2",
    "t/sym",
    "t/socket",
    "f0",
    "f1",
    "link2",
    "sym",
    "f0~",
    ".f0.mmapcp-1",
];

fn plant_source(tree: &Path) {
    plant(tree, b"new ");
    fs::create_dir(tree.join("own")).unwrap();
    fs::write(tree.join("own/o0"), b"new o0").unwrap();
    fs::write(tree.join("link1"), b"new link").unwrap();
    fs::hard_link(tree.join("link1"), tree.join("link2")).unwrap();
    symlink("f0", tree.join("sym")).unwrap();
    // No FIFO: who finds one where he is to write waits for its reader, as cp does.
    drop(UnixListener::bind(tree.join("socket")).unwrap());
    give_away(&tree.join("own"));
    for (path, mode) in [
        ("d", 0o700),
        ("f0", 0o600),
        ("own/o0", 0o666),
        ("own", 0o777),
    ] {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// One change of what a name stands for. What is swapped out is kept aside, or lost.
fn swap_in(root: &Path, dice: &mut SeededRng) -> bool {
    let name = dice.pick(&SWAPPED_NAMES);
    let (path, victim) = (root.join("to").join(name), root.join("victim"));
    let spare = root.join("aside").join(format!("spare-{}", dice.below(16)));
    let target = match dice.below(4) {
        0 => victim,
        1 => victim.join("absent"),
        2 => victim.join(dice.pick(&FILES)),
        _ => victim.join(name.rsplit('/').next().unwrap()),
    };
    match dice.below(8) {
        0 | 1 => symlink(&target, &spare).is_ok() && exchange(&path, &spare),
        2 => fs::rename(&path, &spare).is_ok() && symlink(&target, &path).is_ok(),
        3 => symlink(&target, &path).is_ok(),
        4 => fs::create_dir(&spare).is_ok() && exchange(&path, &spare),
        5 => {
            let _ = fs::remove_file(&path);
            fs::hard_link(&target, &path).is_ok()
                || fs::hard_link(root.join("aside/file"), &path).is_ok()
        }
        6 => exchange(&path, &spare),
        _ => {
            let _ = fs::remove_file(&spare).or_else(|_| fs::remove_dir_all(&spare));
            fs::remove_file(&path).is_ok()
        }
    }
}

/// All that a change would show in: contents apart, which do not change without the time of change.
fn state(dir: &Path) -> Vec<String> {
    let of = |path: &Path| {
        let m = fs::symlink_metadata(path).unwrap();
        let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        format!(
            "{} {:o} {} {} {times:?}",
            path.display(),
            m.mode(),
            m.uid(),
            m.nlink()
        )
    };
    let mut all: Vec<String> = below(dir).iter().map(|path| of(path)).collect();
    all.sort();
    all.push(of(dir));
    all
}

/// A destination anew: empty, or with a tree of the attacker's.
fn renew(root: &Path, sticky: bool, n: u64) {
    let to = root.join("to");
    // He may be putting something in: then it stays.
    for entry in fs::read_dir(&to).unwrap().flatten() {
        let path = entry.path();
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let own = root.join("own");
    if n.is_multiple_of(2) && fs::create_dir(&own).is_ok() {
        plant(&own, b"old ");
        give_away(&own);
        let _ = fs::rename(&own, to.join("t"));
        let _ = fs::remove_dir_all(&own);
    }
    let mode = if sticky { 0o1777 } else { 0o755 };
    fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
}

fn attack_destination(sticky: bool) {
    let shm = shm_dir();
    let root = shm.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    plant_source(&root.join("src/t"));
    plant(&root.join("victim"), b"precious ");
    fs::write(root.join("victim/t"), b"precious t").unwrap();
    fs::create_dir(root.join("to")).unwrap();
    fs::create_dir(root.join("aside")).unwrap();
    fs::write(root.join("aside/file"), b"his").unwrap();
    give_away(&root.join("aside"));
    if !sticky {
        give_away(&root.join("to"));
    }
    let before = state(&root.join("victim"));
    let mut met = 0;
    let swapped = under_attack(
        |dice| swap_in(root, dice),
        |n| {
            if n.is_multiple_of(7) {
                renew(root, sticky, n / 7);
            }
            let (options, operands) = DEST_COMMANDS[n as usize % DEST_COMMANDS.len()];
            let mut command = mmapcp();
            command.args(options).args(operands).arg("../to");
            met += u64::from(ends(command.current_dir(root.join("src"))));
            assert_eq!(state(&root.join("victim")), before, "{command:?}");
        },
    );
    eprintln!("{} copies, {swapped} swaps, {met} copies met one", copies());
    assert!(swapped > copies() && met > 0, "{swapped} swaps, {met} met");
}

#[test]
fn a_destination_of_another_user_does_not_lead_elsewhere() {
    if is_root_or_skip("a_destination_of_another_user_does_not_lead_elsewhere") {
        attack_destination(false);
    }
}

#[test]
fn a_world_writable_destination_does_not_lead_elsewhere() {
    if is_root_or_skip("a_world_writable_destination_does_not_lead_elsewhere") {
        attack_destination(true);
    }
}
