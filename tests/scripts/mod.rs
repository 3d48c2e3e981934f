//! Shell scripts that were written for cp, run with cp and with mmapcp under its name: every byte that they write, their
//! status and what they leave must be the same. And the collector that README.md shows, run for real.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cp_differential::tree_snapshot::{Tree, differences, snapshot_after, snapshot_before};
use crate::cp_differential::{Oracle, oracles};
use crate::lab::newest_cp;
use crate::support::*;

mod crash_collector;

/// Runs `script` in a tree like any other where `cp` is `program`.
fn run_with(shell: &str, script: &str, program: &Path) -> (Output, Tree) {
    let dir = shm_dir();
    let (bin, work) = (dir.path().join("bin"), dir.path().join("work"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&work).unwrap();
    symlink(program, bin.join("cp")).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let command = |text: &str| {
        let mut command = Command::new(shell);
        command.args(["-c", text, "script"]).current_dir(&work);
        // Nothing of the caller's, such as POSIXLY_CORRECT.
        command.env_clear().env("LC_ALL", "C").env("PATH", &path);
        run(&mut command)
    };
    let made = command(FILES_SCRIPT);
    assert_exit(&made, 0);
    let then = snapshot_before(&work);
    let output = command(script);
    (output, snapshot_after(&work, &then))
}

/// What every script finds: files, links and directories as scripts meet them.
const FILES_SCRIPT: &str = r#"
set -e; umask 022
mkdir -p etc/conf.d var/log empty 'with space'
echo main > etc/app.conf; echo one > etc/conf.d/1.conf; echo two > etc/conf.d/2.conf
echo log > var/log/app.log; : > var/log/none; ln -s app.conf etc/current; ln -s nowhere etc/dangling
ln etc/app.conf etc/hard.conf; mkfifo var/pipe; echo s > 'with space/a b'; echo d > ./-dash
truncate -s 64K var/hole; chmod 640 etc/app.conf; chmod 750 etc/conf.d
find . -exec touch -h -d '2011-11-11 11:11:11.123456789' {} +
"#;

fn runs_as_with(oracle: Oracle, shell: &str, script: &str) {
    let (theirs, cp_tree) = match oracle {
        Oracle::System => run_with(shell, script, Path::new("/bin/cp")),
        Oracle::Newest => run_with(shell, script, &newest()),
    };
    let (ours, our_tree) = run_with(shell, script, Path::new(&*MMAPCP));
    assert!(
        !theirs.stdout.is_empty() && !cp_tree.is_empty(),
        "a script that does nothing: {}",
        describe_output(&theirs)
    );
    assert!(
        !lossy_string(&theirs.stderr).contains("not found"),
        "the script itself is wrong: {}",
        describe_output(&theirs)
    );
    assert_eq!(
        lossy_string(&theirs.stdout),
        lossy_string(&ours.stdout),
        "{script}"
    );
    assert_eq!(
        lossy_string(&theirs.stderr),
        lossy_string(&ours.stderr),
        "{script}"
    );
    assert_eq!(theirs.status, ours.status, "{script}");
    let differences = differences(&cp_tree, &our_tree);
    assert!(
        differences.is_empty(),
        "{script}\n{}",
        differences.join("\n")
    );
}

/// The newest cp as a program that can be called by any name.
fn newest() -> PathBuf {
    newest_cp::directory().unwrap().join(newest_cp::NAME)
}

fn in_every_shell(script: &str) {
    for (oracle, shell) in oracles().into_iter().flat_map(in_shells) {
        runs_as_with(oracle, shell, script);
    }
}

fn runs_in_bash(script: &str) {
    for oracle in oracles() {
        runs_as_with(oracle, "bash", script);
    }
}

/// For a script that an older cp runs to another end, by its exit status of -i or its messages.
fn in_every_shell_as_since_9_5(script: &str) {
    if newest_cp::directory().is_some() {
        for (oracle, shell) in in_shells(Oracle::Newest) {
            runs_as_with(oracle, shell, script);
        }
    }
}

fn in_shells(oracle: Oracle) -> [(Oracle, &'static str); 2] {
    [(oracle, "sh"), (oracle, "bash")]
}

#[test]
fn a_script_that_saves_configuration() {
    in_every_shell(
        r#"
        set -eu
        mkdir backup
        cp -a --parents etc/conf.d etc/app.conf var/log backup
        cp -a --parents -v etc/current etc/dangling backup 2>&1 | sed 's/^/backup: /'
        cp -av etc backup/etc.all
        cp -au etc/. backup/etc
        echo changed >> etc/app.conf
        cp -auv etc/. backup/etc
        cp --backup=numbered -T etc/app.conf backup/etc/app.conf
        cp --backup=numbered -vT etc/app.conf backup/etc/app.conf
        cp -bv etc/conf.d/1.conf backup/etc/conf.d/
        cp -S .old -v etc/conf.d/2.conf backup/etc/conf.d/
        VERSION_CONTROL=t cp -bv etc/conf.d/2.conf backup/etc/conf.d/
        (cd backup && find . | sort)
        "#,
    );
}

#[test]
fn a_script_that_makes_snapshots_of_links() {
    in_every_shell(
        r#"
        set -e
        for day in mon tue wed; do
            cp -al etc "snap.$day"
            cp -lR var/log "snap.$day/log"
            cp --remove-destination etc/conf.d/1.conf "snap.$day/conf.d/1.conf"
        done
        cp -lv etc/app.conf snap.mon/app.conf && echo linked
        cp -lf etc/app.conf snap.tue/app.conf
        cp -s "$PWD/etc/app.conf" by-link 2> words || true
        sed "s|$PWD|HERE|" words; rm -f by-link
        cp -sv etc/app.conf relative
        cp -s etc/app.conf empty/relative || echo "status $?"
        stat -c '%n %h' etc/app.conf snap.*/app.conf snap.*/conf.d/*.conf
        "#,
    );
}

/// Messages go to a log, and a here-document says what it must hold.
#[test]
fn a_script_that_compares_messages() {
    in_every_shell_as_since_9_5(
        r#"
        fail=0
        {
            cp missing empty
            cp etc empty
            cp etc/app.conf etc/conf.d/1.conf nodir
            cp etc/app.conf etc/conf.d/1.conf var/log/none
            cp etc/app.conf etc/app.conf
            cp -r etc etc
            cp
            cp etc/app.conf
            cp --no-such a b
            cp -y a b
            cp --backup=foo a b
            cp etc/app.conf etc/dangling
            cp -T etc/app.conf empty
            cp etc/app.conf nodir/
            cp -t
        } > log 2>&1 || fail=$?
        echo "last: $fail"
        diff - log <<'END' && echo as expected
cp: cannot stat 'missing': No such file or directory
cp: -r not specified; omitting directory 'etc'
cp: target 'nodir': No such file or directory
cp: target 'var/log/none': Not a directory
cp: 'etc/app.conf' and 'etc/app.conf' are the same file
cp: cannot copy a directory, 'etc', into itself, 'etc/etc'
cp: missing file operand
Try 'cp --help' for more information.
cp: missing destination file operand after 'etc/app.conf'
Try 'cp --help' for more information.
cp: unrecognized option '--no-such'
Try 'cp --help' for more information.
cp: invalid option -- 'y'
Try 'cp --help' for more information.
cp: invalid argument 'foo' for 'backup type'
Valid arguments are:
  - 'none', 'off'
  - 'simple', 'never'
  - 'existing', 'nil'
  - 'numbered', 't'
Try 'cp --help' for more information.
cp: not writing through dangling symlink 'etc/dangling'
cp: cannot overwrite directory 'empty' with non-directory 'etc/app.conf'
cp: cannot create regular file 'nodir/': Not a directory
cp: option requires an argument -- 't'
Try 'cp --help' for more information.
END
        rm -rf etc/etc
        cat log
        "#,
    );
}

#[test]
fn a_script_full_of_small_copies() {
    in_every_shell(
        r#"
        set -e
        cp etc/app.conf new; cp new new2; cp -p etc/app.conf kept; cp -rp etc kept.d; cp -R etc/conf.d empty/
        cp etc/*.conf etc/conf.d/*.conf empty; cp etc/* empty 2>&1 || echo "some were not: $?"
        cp -n etc/app.conf new2 && echo left alone; echo newer > kept; cp -u etc/app.conf kept; cat kept
        cp -uv etc/conf.d/1.conf empty/1.conf; cp -nv etc/app.conf fresh
        cp -t empty -- etc/app.conf -dash; cp -- -dash dashed; cp ./-dash - && cat ./-; cp -- - again
        cp 'with space/a b' 'new name'; cp "with space/"* empty; cp -r 'with space' 'other space'
        cp /dev/null new; test ! -s new && echo emptied
        cp -f etc/app.conf new2; cp -fr etc/. copy.d; cp -r etc/conf.d/ copy.e/; cp -d etc/current link
        cp -P etc/dangling dangling; cp -H etc/current followed; cp -L etc/current followed2
        cp --preserve=mode,timestamps etc/app.conf some; cp --no-preserve=mode etc/app.conf other
        cp --attributes-only -p etc/app.conf attributes; cp --sparse=always var/hole h1; cp --sparse=never var/hole h2
        cp --reflink=auto var/hole h3; cp -a var/pipe pipe; cp -rT etc copy.f; cp -x -r var copy.g
        cp --strip-trailing-slashes etc/current/ stripped; cp -a etc/conf.d/. . ; cp -v --parents etc/conf.d/1.conf copy.f
        cp --recursive --preserve --verbose etc/conf.d copy.h; cp --rec --verb etc/conf.d copy.i
        find . | sort
        "#,
    );
}

#[test]
fn a_script_that_goes_on_after_errors() {
    in_every_shell_as_since_9_5(
        r#"
        set -e
        cp missing new 2>/dev/null || true
        cp missing new || echo "status $?"
        if cp -T etc/app.conf empty; then echo no; else echo "no, $?"; fi
        cp missing etc/app.conf gone empty || echo "one of three: $?"; ls empty
        while read -r from to; do
            cp -v "$from" "$to" || printf 'failed: %s\n' "$from"
        done <<END
etc/app.conf one
missing two
etc/conf.d three
var/log/none four
END
        trap 'echo "ended with $?"' EXIT
        cp -r var/log/. five
        cp nothing six
        echo never reached
        "#,
    );
}

#[test]
fn a_script_without_anybody_to_ask() {
    in_every_shell_as_since_9_5(
        r#"
        cp < /dev/null -i etc/app.conf var/log/none; echo "status $?"
        echo y | cp -i etc/app.conf var/log/none; echo "status $?"
        echo n | cp -i etc/conf.d/1.conf var/log/none; echo "status $?"
        yes | cp -i etc/conf.d/* empty; yes | cp -ri etc/. empty 2>&1 | sort
        yes n | cp -iv etc/conf.d/* empty; echo "status $?"
        alias cp='cp -i'; unalias cp; cp -in etc/app.conf var/log/app.log; cp -ni etc/app.conf var/log/app.log < /dev/null
        cp -if etc/app.conf var/log/app.log < /dev/null; cat var/log/*
        "#,
    );
}

#[test]
fn a_script_of_find_and_xargs() {
    in_every_shell(
        r#"
        set -e
        mkdir all some each quiet
        find etc -type f -name '*.conf' -print0 | sort -z | xargs -0 cp -t all
        find etc -name '[12].conf' -exec cp -v -t some {} +
        find etc -type f -exec cp --backup=numbered {} each/same \;
        find . -path ./all -prune -o -name 'a b' -exec cp -p {} quiet \;
        ls var/log/* | xargs -I{} cp -v {} quiet/
        printf '%s\n' etc/app.conf etc/hard.conf | xargs cp --preserve=links -t quiet
        for f in all/*; do cp -- "$f" "$f.bak"; done
        tar cf - etc | (mkdir un && cd un && tar xf - && cp -a etc copied)
        find . -type f | sort | xargs md5sum
        "#,
    );
}

#[test]
fn a_script_that_is_strict_about_options() {
    in_every_shell(
        r#"
        POSIXLY_CORRECT=1; export POSIXLY_CORRECT
        cp etc/app.conf -v; echo "status $?"
        cp etc/app.conf new -v; echo "status $?"
        cp etc/app.conf etc/dangling; echo "status $?"; cat nowhere etc/nowhere 2>&1
        unset POSIXLY_CORRECT
        cp etc/app.conf new -v; echo "status $?"
        cp -- etc/app.conf -v; echo "status $?"
        SIMPLE_BACKUP_SUFFIX=.orig cp -bv etc/app.conf new
        VERSION_CONTROL=none cp -bv etc/app.conf new
        command cp -v etc/app.conf "$(printf 'odd\nname')"
        cp -v etc/app.conf "it's"; cp -v "it's" 'q"q'
        cp missing "$(printf 'tab\there')"; cp "$(printf 'tab\there')" x
        "#,
    );
}

/// Words that only bash has.
#[test]
fn a_script_of_bash() {
    runs_in_bash(
        r#"
        set -euo pipefail
        shopt -s nullglob globstar
        install_all() { local to=$1; shift; cp -pt "$to" "$@"; }
        install_all empty etc/**/*.conf
        cp etc/app.conf{,.bak}; cp -v etc/{app,hard}.conf empty
        cp -v <(echo from a pipe) piped 2>&1 | sed 's|/dev/fd/[0-9]*|FD|'
        files=(etc/*.conf); cp -- "${files[@]}" 'with space'
        if ! out=$(cp -r missing empty 2>&1); then echo "said: $out"; fi
        cp -v etc/app.conf empty/ |& tee log > /dev/null; cat piped log
        cp etc/app.conf /dev/stdout
        cp /dev/stdin typed <<< 'typed in'; cat typed
        "#,
    );
}
