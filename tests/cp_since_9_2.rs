//! What cp does since 9.2, said here without a cp to compare with, and what only the newest has, beside that.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::lab::newest_cp;
use crate::support::*;

/// Runs a program in a directory with an answer to each question.
fn answered(mut command: Command, dir: &Path, words: &str, answers: &str) -> Output {
    let mut child = command
        .args(words.split(' '))
        .current_dir(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who asks nothing reads nothing.
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
    child.wait_with_output().unwrap()
}

/// Small files, an empty one and one with a hole, a tree, and what is in their way.
fn furnish(dir: &Path) {
    for (name, body) in [("f", "new"), ("e", ""), ("g", "other"), ("old", "old")] {
        fs::write(dir.join(name), body).unwrap();
    }
    let holed = fs::File::create(dir.join("h")).unwrap();
    holed.write_all_at(&[7; 4096], 1 << 20).unwrap();
    holed.set_len(2 << 20).unwrap();
    for tree in ["t", "u"] {
        fs::create_dir(dir.join(tree)).unwrap();
        fs::write(dir.join(tree).join("x"), tree).unwrap();
    }
    fs::create_dir(dir.join("u/t")).unwrap();
    fs::write(dir.join("u/t/x"), "old").unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
}

#[test]
fn declined_prompts_give_exit_status_1_and_copy_what_was_confirmed() {
    for (words, answers, code, left) in [
        ("-i f old", "n\n", 1, "old"),
        ("-i f old", "y\n", 0, "new"),
        ("-i f old", "", 1, "old"),
        ("-ri t u", "no\n", 1, "old"),
        ("-ri t u", "yes\n", 0, "t"),
        ("-n f old", "", 0, "old"),
        ("-i --update=none f old", "", 0, "old"),
        // Nothing is asked where nothing would be written.
        ("-iu old f", "", 0, "new"),
    ] {
        let dir = shm_dir();
        furnish(dir.path());
        let long_ago = fs::File::options()
            .write(true)
            .open(dir.path().join("old"))
            .unwrap();
        long_ago.set_modified(std::time::UNIX_EPOCH).unwrap();
        let output = answered(mmapcp(), dir.path(), words, answers);
        assert_exit_in(&output, code, words);
        let dest = match words {
            words if words.ends_with("t u") => "u/t/x",
            words => words.rsplit(' ').next().unwrap(),
        };
        let now = fs::read_to_string(dir.path().join(dest)).unwrap();
        assert_eq!(now, left, "{words}: {}", describe_output(&output));
    }
}

#[test]
fn declining_one_source_copies_the_others() {
    let dir = shm_dir();
    furnish(dir.path());
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    for name in ["f", "g"] {
        fs::write(into.join(name), "old").unwrap();
    }
    let output = answered(mmapcp(), dir.path(), "-i f g e into", "n\ny\n");
    assert_exit(&output, 1);
    let read = |name| fs::read_to_string(into.join(name)).unwrap();
    assert_eq!([read("f"), read("g"), read("e")], ["old", "other", ""]);
}

#[test]
fn a_clone_that_fails_leaves_no_new_file() {
    // Memory shares nothing, nor does memory with a disk.
    let (dir, disk) = (shm_dir(), disk_dir());
    furnish(dir.path());
    let elsewhere = disk.path().join("new");
    for dest in [dir.path().join("new"), elsewhere] {
        let output = run(mmapcp()
            .arg("--reflink=always")
            .arg(dir.path().join("f"))
            .arg(&dest));
        assert_exit(&output, 1);
        assert!(
            lossy_string(&output.stderr).contains("failed to clone"),
            "{}",
            describe_output(&output)
        );
        assert!(!dest.exists(), "{} was left", dest.display());
    }
    // One that was there stays, empty, as with cp.
    let output = answered(mmapcp(), dir.path(), "--reflink=always f old", "");
    assert_exit(&output, 1);
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"");
}

#[test]
fn debug_says_what_is_skipped_and_verbose_does_not() {
    for (words, skipped) in [
        ("-n f old", true),
        ("--update=none f old", true),
        ("-u f old", true),
        ("-i f old", true),
        ("--update=none-fail f old", false),
        ("f old", false),
    ] {
        for (option, wanted) in [("--debug", skipped), ("-v", false)] {
            let dir = shm_dir();
            furnish(dir.path());
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
            let old = fs::File::options()
                .write(true)
                .open(dir.path().join("old"))
                .unwrap();
            old.set_modified(later).unwrap();
            let output = answered(mmapcp(), dir.path(), &format!("{option} {words}"), "n\n");
            let found = lossy_string(&output.stdout)
                .lines()
                .any(|line| line == "skipped 'old'");
            assert_eq!(
                found,
                wanted,
                "{option} {words}: {}",
                describe_output(&output)
            );
        }
    }
}

/// The three values that the line of cp names: copy offload, reflink, sparse detection.
fn method(output: &Output) -> Option<[String; 3]> {
    let text = lossy_string(&output.stdout);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("copy offload: "))?;
    let (offload, rest) = line.split_once(", reflink: ")?;
    let (reflink, sparse) = rest.split_once(", sparse detection: ")?;
    Some([offload, reflink, sparse].map(Into::into))
}

#[test]
fn debug_tells_the_method_in_the_words_of_cp() {
    let dir = disk_dir();
    furnish(dir.path());
    let dense = dir.path().join("dense");
    fs::write(&dense, vec![1; 1 << 20]).unwrap();
    fs::File::open(&dense).unwrap().sync_all().unwrap();
    let zeros = "SEEK_HOLE + zeros";
    for (words, want) in [
        ("f new", ["avoided", "unsupported", "no"]),
        ("--reflink=never f new", ["avoided", "no", "no"]),
        ("--sparse=never f new", ["avoided", "no", "no"]),
        ("e new", ["unknown", "unsupported", "no"]),
        ("h new", ["avoided", "unsupported", "SEEK_HOLE"]),
        ("--sparse=always h new", ["avoided", "unsupported", zeros]),
        ("--sparse=never h new", ["avoided", "no", "SEEK_HOLE"]),
        ("--sparse=always e new", ["unknown", "unsupported", "no"]),
        (
            "--engine=buffered dense new",
            ["avoided", "avoided", "SEEK_HOLE"],
        ),
        (
            "--engine=sendfile dense new",
            ["avoided", "avoided", "SEEK_HOLE"],
        ),
        (
            "--engine=copy-file-range dense new",
            ["yes", "avoided", "SEEK_HOLE"],
        ),
        ("/proc/self/status new", ["avoided", "unsupported", "no"]),
        (
            "--sparse=always /proc/self/status new",
            ["avoided", "unsupported", "zeros"],
        ),
        // Nothing was copied.
        ("f dangling", ["unknown", "unknown", "unknown"]),
        ("--reflink=never f dangling", ["unknown", "no", "unknown"]),
        (
            "--reflink=always f new",
            ["unknown", "unsupported", "unknown"],
        ),
    ] {
        let _ = fs::remove_file(dir.path().join("new"));
        let output = answered(mmapcp(), dir.path(), &format!("--debug {words}"), "");
        let want = want.map(String::from);
        assert_eq!(
            method(&output),
            Some(want),
            "{words}: {}",
            describe_output(&output)
        );
    }
    for words in [
        "--attributes-only f old",
        "-l f new",
        "-s f new2",
        "-n f old",
        "no new",
    ] {
        let _ = fs::remove_file(dir.path().join("new"));
        let output = answered(mmapcp(), dir.path(), &format!("--debug {words}"), "");
        assert_eq!(
            method(&output),
            None,
            "{words}: {}",
            describe_output(&output)
        );
    }
}

/// What people read of --debug in both: without the lines of our own, and without how the data was moved.
fn common_lines(output: &Output) -> Vec<String> {
    let text = lossy_string(&output.stdout);
    let common = text.lines().filter(|line| !line.contains("': "));
    common
        .map(|line| match line.strip_prefix("copy offload: ") {
            Some(rest) => format!("copy offload: *, {}", rest.split_once(", ").unwrap().1),
            None => line.to_owned(),
        })
        .collect()
}

#[test]
fn the_lines_of_debug_stand_where_cp_has_them() {
    let Some(newest) = newest_cp::directory() else {
        return;
    };
    for words in [
        "f new",
        "e new",
        "h new",
        "f old",
        "f g e h u",
        "--sparse=always h new",
        "--sparse=never h new",
        "--reflink=never f g u",
        "--reflink=always f new",
        "--reflink=always f old",
        "-n f old",
        "-u f old",
        "-i f old",
        "-i f e u",
        "--update=none-fail f old",
        "--update=none-fail f g u",
        "--remove-destination f old",
        "-b f old",
        "--attributes-only f new",
        "-l f new",
        "-s f new",
        "-r t u",
        "-r t new",
        "-rn t u",
        "-ru t u",
        "-a t u new",
        "--parents t/x u",
        "f dangling",
        "-f f dangling",
        "-P dangling new",
        "no new",
        "no f u",
    ] {
        let words = format!("--debug {words}");
        let [cp, ours] = [Command::new(newest.join(newest_cp::NAME)), mmapcp()].map(|program| {
            // Both go by inode. ext4 puts a directory where there is room, so that its inode may be larger or smaller
            // than that of a file beside it; tmpfs counts.
            let in_memory = words.contains(" -r") || words.contains(" -a ");
            let dir = if in_memory { shm_dir() } else { disk_dir() };
            furnish(dir.path());
            if words.ends_with("t u new") {
                fs::create_dir(dir.path().join("new")).unwrap();
            }
            answered(program, dir.path(), &words, "n\nn\n")
        });
        assert_eq!(
            cp.status.code(),
            ours.status.code(),
            "{words}: {}",
            describe_output(&ours)
        );
        assert_eq!(
            common_lines(&ours),
            common_lines(&cp),
            "{words}: {}",
            describe_output(&ours)
        );
    }
}

#[test]
fn a_directory_and_another_kind_of_file_with_a_backup() {
    let cases = r#"
        a directory onto a file :: $CP -rb -T dir b
        numbered :: $CP -r --backup=numbered -T dir b
        told :: $CP -rvb -T dir b
        a directory onto a link to a directory :: $CP -rb -T other dlink
        a directory onto a socket :: $CP -rb -T dir sock
        of a tree :: mkdir -p o/dir; echo f > o/dir/sub :: $CP -rb dir o
        with attributes :: $CP -ab -T dir b
        a file onto a directory :: $CP -b -T a other
        a file onto a directory, by force :: $CP -bf -T a other
        a file onto a directory, first removed :: $CP -b --remove-destination -T a other
        a link onto a directory :: $CP -Pb -T link other
        a hard link onto a directory :: $CP -lb -T a other
        a symbolic link onto a directory :: $CP -sb -T a other
        a file of a tree onto a directory :: mkdir -p o/dir/x :: $CP -rb dir o
        a second copy of a directory, in the way of a link :: ln -s dir c; mkdir o; ln -s x o/c :: $CP -rbd dir c/ o
        no backup :: $CP -r --backup=none -T dir b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

/// The contents of a directory get no backup in cp, which removes the file that is in their way for good.
#[test]
fn a_file_that_gets_no_backup_is_not_removed_for_a_directory() {
    let dir = shm_dir();
    furnish(dir.path());
    let output = answered(mmapcp(), dir.path(), "-rb -T t/. old", "");
    assert_exit(&output, 1);
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"old");
}

#[test]
fn set_id_bits_of_what_was_there_do_not_survive_a_mode_that_is_preserved() {
    let cases = r#"
        a file :: chmod 6755 b :: $CP -p a b
        its mode only :: chmod 6755 b :: $CP --preserve=mode a b
        attributes only :: chmod 6755 b :: $CP -p --attributes-only a b
        with set-id bits of the source :: chmod 4755 a; chmod 2755 b :: $CP -p a b
        a directory :: cp -r dir other; chmod 3777 other/dir :: $CP -rp dir other
        without -p :: chmod 6755 b :: $CP a b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

/// What to do about existing files, as 9.5 has it; 9.1 has other words only.
#[test]
fn update_takes_the_words_of_the_newest() {
    let cases = r#"
        WORD :: $CP WORD a b
        WORD, newer :: touch -d 2001-01-01 b :: $CP WORD a b
        WORD, older :: touch -d 2019-01-01 b :: $CP WORD a b
        WORD, new :: $CP WORD a new
        WORD, itself :: $CP WORD a a
        WORD, a tree :: cp -a dir other; touch -d 2001-01-01 other/dir/x; touch -d 2019-01-01 other/dir/sub/y :: $CP -r WORD dir other
        WORD, told :: $CP -v WORD a b
        WORD, onto a directory :: $CP WORD -T a other
        WORD, declined :: echo n | $CP -i WORD a b
        WORD, agreed :: echo y | $CP -i WORD a b
        WORD, then -n :: touch -d 2001-01-01 b :: $CP WORD -n a b
        WORD, then -u :: touch -d 2019-01-01 b :: $CP WORD -u a b
        WORD, after -u :: touch -d 2019-01-01 b :: $CP -u WORD a b
        WORD, with a backup :: touch -d 2001-01-01 b :: $CP -b WORD a b
    "#;
    for word in [
        "all",
        "none",
        "none-fail",
        "older",
        "al",
        "none-",
        "n",
        "",
        "x",
    ] {
        let cases = cases.replace("WORD", &format!("--update={word}"));
        assert_same_as_cp(
            &cases,
            ComparisonOptions::ANY_ORDER.in_memory().newest_only(),
        );
    }
}

/// With -r alone the newest forgets the option, save with --copy-contents, and with a backup it replaces the link; here the
/// option means the same with all of them (see `trees`). A link that dangles or goes round is refused in other words.
#[test]
fn links_to_directories_are_kept_as_by_the_newest() {
    let cases = r#"
        a link to a directory :: mkdir o; ln -s ../other o/dir :: $CP -r --copy-contents --keep-directory-symlink dir o
        a link to a file :: mkdir o; ln -s ../a o/dir :: $CP -r --copy-contents --keep-directory-symlink dir o
        deeper :: mkdir -p o/dir; ln -s ../../other o/dir/sub :: $CP -r --copy-contents --keep-directory-symlink dir o
        with attributes :: mkdir o; ln -s ../other o/dir :: $CP -a --copy-contents --keep-directory-symlink dir o
        an operand :: $CP -rT --copy-contents --keep-directory-symlink dir dlink
        a link comes :: mkdir o; ln -s ../other o/dlink :: $CP -r --copy-contents --keep-directory-symlink dlink o
        with --parents :: mkdir o; ln -s ../other o/dir :: $CP -r --parents --copy-contents --keep-directory-symlink dir/sub o
        without it :: mkdir o; ln -s ../other o/dir :: $CP -r --copy-contents dir o
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER.newest_only());
}
