//! --atomic, --fsync and --jobs together with cp's own words: the outcome is cp's, and the name of a destination is never
//! missing on the way.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

/// What changes none of the results. A file with further links is not among them: --atomic leaves those as they were.
const FILES: &str = r#"
    a new file :: $CP a new
    an existing file :: $CP -v b empty
    a mode is kept :: chmod 751 b :: $CP a b
    -p :: chmod 640 a; touch -d 2001-01-01 a :: $CP -p a b
    -p to a new name :: chmod 4711 a :: $CP -p a new
    into a directory :: printf o > other/b :: $CP -v a b other
    --parents :: mkdir other/dir; printf o > other/dir/x :: $CP -v --parents dir/x dir/sub/y other
    -b :: $CP -vb a b
    -b, nothing there :: $CP -vb a new
    -b, the mode is that of a new file :: chmod 755 b; chmod 600 a :: $CP -b a b
    -b over an older backup :: printf o > b~ :: $CP -vb a b
    -b over a link :: ln -s b blink :: $CP -vb a blink
    -b over a dangling link :: $CP -vb a dangling
    -b over a FIFO :: mkfifo pipe :: $CP -vb a pipe
    -b over a socket :: $CP -vb a sock
    -b of a file with another name :: ln b b2 :: $CP -vb a b
    --backup=t :: $CP -v --backup=t a b
    --backup=t of one name :: mkdir p; printf 1 > p/a :: $CP -v --backup=t a p/a other
    --backup=t, there are some :: printf o > b.~1~; printf o > b.~9~ :: $CP -v --backup=t a b
    --backup=t in a directory :: printf o > other/a :: $CP -v --backup=t a other
    -S :: $CP -v -S .bak a b
    -bp :: chmod 640 a :: $CP -vbp a b
    -bf onto itself :: $CP -vbf a a
    -b onto itself :: $CP -vb a a
    -b, source is the backup :: printf o > b~ :: $CP -vb --backup=simple b~ b
    -b, no source :: $CP -vb nofile b
    -b onto a directory :: $CP -vbT a other
    -n :: $CP -vn a b
    -n, nothing there :: $CP -vn a new
    -u, older there :: touch -d 2001-01-01 b; touch -d 2002-02-02 a :: $CP -vu a b
    -u, newer there :: touch -d 2002-02-02 b; touch -d 2001-01-01 a :: $CP -vu a b
    -i, no :: echo n | $CP -vi a b
    -i, yes :: echo y | $CP -vi a b
    --remove-destination, nothing there :: $CP -v --remove-destination a new
    --remove-destination onto itself :: $CP -v --remove-destination a a
    --remove-destination onto a directory :: $CP -vT --remove-destination a other
    --remove-destination, no source :: $CP -v --remove-destination nofile b
    a directory without -r :: $CP -v dir new
    over a directory :: $CP -vT a other
    to a directory that is not there :: $CP -v a nodir/new
    dangling :: $CP -v a dangling
    a link stays :: ln -s b blink :: $CP -v a blink
    -s, refused by ours alone or not at all :: $CP -v a ./a
    --sparse=always :: truncate -s 1M hole :: $CP -v --sparse=always hole b
    a FIFO anew :: mkfifo pipe :: $CP -vR pipe new
    a link anew :: $CP -vP link new
"#;

const TREES: &str = r#"
    -r :: $CP -r dir new
    -r, merged :: cp -r dir new :: $CP -rT dir new
    -a :: chmod 750 dir/sub; touch -d 2001-01-01 dir dir/x :: $CP -av dir new
    -a, hard links :: ln dir/x dir/sub/x2; ln dir/x dir/x3 :: $CP -av dir new
    -a, links to nowhere :: ln -s nodir/x dir/l; ln -s loop dir/loop; ln -s / dir/root :: $CP -a dir new
    -r, a name with slashes :: $CP -r dir new//
    -a, special files :: mkfifo dir/pipe :: $CP -av dir new
    -a, links that were files :: cp -a dir new; ln -sf ../b new/x :: $CP -aT dir new
    -rb :: cp -r dir new :: $CP -rbT dir new
    -ab numbered :: cp -a dir new :: $CP -avT --backup=t dir new
    -ab numbered, hard links :: ln dir/x dir/x2; cp -a dir new :: $CP -avT --backup=t dir new
    -au :: cp -a dir new; touch -d 2001-01-01 new/x :: $CP -auT dir new
    -rn :: mkdir new; printf o > new/x :: $CP -rnT dir new
    -r, a directory over a file :: mkdir new; printf o > new/sub :: $CP -rT dir new
    -r, a file over a directory :: mkdir -p new/x :: $CP -rT dir new
    -r, several :: $CP -r a dir b other
    -a --parents :: $CP -a --parents dir/sub other
    -rL :: rm dir/sub/dangling :: $CP -rL dir new
"#;

#[test]
fn atomic_makes_what_cp_makes() {
    assert_same_as_cp(
        FILES,
        ComparisonOptions::PLAIN.with_mmapcp_options("--atomic"),
    );
    assert_same_as_cp(
        TREES,
        ComparisonOptions::ANY_ORDER.with_mmapcp_options("--atomic"),
    );
}

#[test]
fn atomic_and_durable_with_four_jobs_makes_what_cp_makes() {
    assert_same_as_cp(
        FILES,
        ComparisonOptions::PLAIN.with_mmapcp_options("--atomic --fsync --jobs=4"),
    );
    assert_same_as_cp(
        TREES,
        ComparisonOptions::ANY_ORDER.with_mmapcp_options("--atomic --fsync --jobs=4"),
    );
}

#[test]
fn durable_with_four_jobs_makes_what_cp_makes() {
    assert_same_as_cp(
        FILES,
        ComparisonOptions::PLAIN.with_mmapcp_options("--fsync --jobs=4"),
    );
    assert_same_as_cp(
        TREES,
        ComparisonOptions::ANY_ORDER.with_mmapcp_options("--fsync --jobs=4"),
    );
}

/// The order of a tree changes nothing of what is made of it, nor does the time that there is.
#[test]
fn copies_in_another_order_make_what_cp_makes() {
    for options in [
        "--order=size --first=x --first=sub --fsync",
        "--order=name --first=*/y --jobs=4 --finish-within=1h",
    ] {
        let compared = ComparisonOptions::ANY_ORDER.with_mmapcp_options(options);
        assert_same_as_cp(TREES, compared);
    }
}

/// A backup that was made is gone again, whether or not the old name was ever missing. What is backed up belongs to the
/// user: the kernel forbids to link to the files of others (fs.protected_hardlinks).
#[test]
fn failures_leave_what_was_there() {
    let cases = r#"
        unreadable :: chmod 600 a; chmod 666 b :: $CP -vb a b
        unreadable, numbered :: chmod 600 a; chown 65534 b :: $CP -v --backup=t a b
        unreadable, over a link :: chmod 600 a; ln -s b blink; chown -h 65534 blink :: $CP -vb a blink
        unreadable, a new name :: chmod 600 a :: $CP -v a new
        in a tree :: cp -r dir new; chmod -R a+rwX new; chmod 600 dir/x :: $CP -rbT dir new
        a directory that may not be written :: printf o > other/a; chown 65534 other/a; chmod 755 other :: $CP -vb a other
    "#;
    assert_same_as_cp(
        cases,
        ComparisonOptions::NOBODY_ANY_ORDER.with_mmapcp_options("--atomic"),
    );
}

/// The new file has nothing of the old one, and other links keep the old content. Without -v, for here nothing is removed
/// before the new file is complete, and nothing is said of it.
#[test]
fn a_destination_to_be_removed_is_replaced_by_a_new_file() {
    let cases = r#"
        its mode is that of a new file :: chmod 755 b; chmod 600 a :: $CP --remove-destination a b
        other links keep it :: ln b b2 :: $CP --remove-destination a b
        a link :: ln -s b blink :: $CP --remove-destination a blink
        a dangling link :: $CP --remove-destination a dangling
        a FIFO :: mkfifo pipe :: $CP --remove-destination a pipe
        a socket :: $CP --remove-destination a sock
        in a tree :: cp -r dir new; ln -sf ../a new/x :: $CP -rT --remove-destination dir new
        two :: printf o > other/a; printf o > other/b :: $CP --remove-destination a b other
        with hard links kept :: ln b b2 :: $CP --preserve=links a b
    "#;
    assert_same_as_cp(
        cases,
        ComparisonOptions::ANY_ORDER.with_mmapcp_options("--atomic"),
    );
}

/// Looks at a name until it is told to stop; how often it was not there, or not whole.
fn watch(name: &Path, whole: &[Vec<u8>], until: &AtomicBool) -> (usize, usize) {
    let (mut looks, mut misses) = (0, 0);
    while !until.load(Ordering::Relaxed) {
        looks += 1;
        match fs::read(name) {
            Ok(bytes) if whole.contains(&bytes) => {}
            _ => misses += 1,
        }
    }
    (looks, misses)
}

/// 200 replacements of one name while somebody reads it all the time.
fn never_missing(options: &[&str], backup: impl Fn(usize) -> Option<String>) {
    const ROUNDS: usize = 200;
    for dir in [shm_dir(), disk_dir()] {
        let path = |name: &str| dir.path().join(name);
        let contents: Vec<Vec<u8>> = (0..2u8).map(|n| vec![b'a' + n; 10_000]).collect();
        for (n, content) in contents.iter().enumerate() {
            fs::write(path(&format!("source{n}")), content).unwrap();
        }
        fs::write(path("dest"), &contents[1]).unwrap();
        let over = AtomicBool::new(false);
        let dest = path("dest");
        thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&dest, &contents, &over));
            for round in 0..ROUNDS {
                let source = path(&format!("source{}", round % 2));
                let output = run(mmapcp().args(options).arg(&source).arg(&dest));
                if !output.status.success() || fs::read(&dest).unwrap() != contents[round % 2] {
                    over.store(true, Ordering::Relaxed);
                    panic!("round {round} of {options:?}: {}", describe_output(&output));
                }
                if let Some(name) = backup(round) {
                    let old = fs::read(path(&name)).ok();
                    if old.as_ref() != Some(&contents[(round + 1) % 2]) {
                        over.store(true, Ordering::Relaxed);
                        panic!("round {round} of {options:?}: {name} holds something else");
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
            let (looks, misses) = watcher.join().unwrap();
            assert!(looks > ROUNDS, "{options:?}: looked {looks} times");
            assert_eq!(misses, 0, "{options:?}: of {looks} looks");
        });
        let temporary = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .find(|name| name.starts_with('.'));
        assert_eq!(temporary, None, "{options:?}");
    }
}

#[test]
fn a_name_is_never_missing_while_its_file_is_backed_up() {
    never_missing(&["--atomic", "--backup=simple"], |_| Some("dest~".into()));
    never_missing(&["--atomic", "--backup=numbered"], |round| {
        Some(format!("dest.~{}~", round + 1))
    });
}

#[test]
fn a_name_is_never_missing_while_its_file_is_replaced() {
    never_missing(&["--atomic"], |_| None);
    never_missing(&["--atomic", "--remove-destination", "-p"], |_| None);
}

/// What cannot be replaced atomically is said, and stays as it was, type and all.
#[test]
fn what_is_no_file_is_refused_as_operand_and_in_a_tree() {
    let dir = shm_dir();
    let sh = |script: &str| {
        let output = run(Command::new("sh")
            .args(["-ec", script])
            .current_dir(dir.path()));
        assert_exit_in(&output, 0, script);
        lossy_string(&output.stdout)
    };
    sh("mkdir s d d/dir; printf new > s/pipe; printf new > s/null; printf new > s/dir; printf new > s/file
        mkfifo d/pipe; mknod d/null c 1 3; printf old > d/file");
    let look = || sh("stat -c '%n %F %i %t,%T %a %Y' d/pipe d/null d/dir");
    let before = look();
    for name in ["pipe", "null", "dir"] {
        let output = run(mmapcp()
            .current_dir(dir.path())
            .args(["--atomic", "-T"])
            .arg(format!("s/{name}"))
            .arg(format!("d/{name}")));
        assert_exit_in(&output, 1, name);
        let words = match name {
            "dir" => "cannot overwrite directory 'd/dir' with non-directory 's/dir'".into(),
            _ => format!("cannot replace 'd/{name}' atomically: not a regular file"),
        };
        assert_eq!(lossy_string(&output.stderr), format!("mmapcp: {words}\n"));
    }
    let output = run(mmapcp()
        .current_dir(dir.path())
        .args(["--atomic", "-rT", "s", "d"]));
    assert_exit(&output, 1);
    assert_eq!(
        lossy_string(&output.stderr).lines().count(),
        3,
        "{}",
        describe_output(&output)
    );
    assert_eq!(before, look());
    assert_eq!(sh("cat d/file"), "new", "the rest is copied");
}

/// What was made lies in a directory that has to be synced as well, whatever was made.
#[test]
fn the_directory_of_what_was_made_is_synced() {
    let dir = disk_dir();
    let path = |name: &str| dir.path().join(name);
    if !has_tools_or_skip("the_directory_of_what_was_made_is_synced", &["strace"]) {
        return;
    }
    fs::create_dir_all(path("tree/sub")).unwrap();
    std::os::unix::fs::symlink("nowhere/x", path("link")).unwrap();
    fs::write(path("file"), "x").unwrap();
    for (words, made) in [
        (["-r", "tree"], "into/"),
        (["-P", "link"], "into"),
        (["-l", "file"], "into"),
        (["-v", "file"], "into"),
    ] {
        let trace = path("trace");
        fs::create_dir(path("under")).unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-e", "trace=fsync,syncfs", "-o"]);
        command.arg(&trace).arg(&*MMAPCP).arg("--fsync").args(words);
        let to = format!("under/{made}");
        let output = run(command.arg(&to).current_dir(dir.path()));
        assert_exit_in(&output, 0, format!("{words:?}"));
        let calls = fs::read_to_string(&trace).unwrap();
        let under = format!("{}>)", path("under").display());
        assert!(calls.contains(&under), "{words:?}: {calls}");
        fs::remove_dir_all(path("under")).unwrap();
    }
}
