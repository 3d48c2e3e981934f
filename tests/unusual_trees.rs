//! Trees beyond the everyday: deep ones, and permissions that a directory hands down.

use std::fs;
use std::process::Command;

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

/// More levels than PATH_MAX has room for, and more than an 8 MiB stack had in a debug build.
const LEVELS: usize = 3000;

#[test]
fn a_tree_deeper_than_a_path_is_long() {
    let shm = shm_dir();
    let script = format!(
        "i=0; while [ $i -lt {LEVELS} ]; do mkdir d && cd -P d || exit 9; i=$((i+1)); done; echo leaf > leaf"
    );
    let (from, to) = (shm.path().join("from"), shm.path().join("to"));
    fs::create_dir(&from).unwrap();
    let made = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&from)
        .status()
        .unwrap();
    assert!(made.success());
    let output = run(mmapcp().arg("-r").arg(&from).arg(&to));
    assert_exit(&output, 0);
    let count = |dir| {
        let found = Command::new("find")
            .arg(dir)
            .args(["-printf", "x"])
            .output()
            .unwrap();
        found.stdout.len()
    };
    assert_eq!(count(&to), LEVELS + 2);
}

/// With -p a copy has the ACLs of its source and no others, as cp's has.
#[test]
fn acls_are_those_of_the_source() {
    let disk = disk_dir();
    let script = r#"
        set -e
        mkdir from plain given
        touch from/none from/some; chmod 664 from/none
        setfacl -m u:daemon:rw from/some
        mkdir from/dir; setfacl -d -m u:daemon:rx from/dir
        setfacl -d -m u:bin:rwx given
        for dir in plain given; do
            mkdir $dir/cp $dir/own
            cp -rp from $dir/cp; "$OWN" -rp from $dir/own
            (cd $dir/cp; getfacl -R from) > $dir.cp; (cd $dir/own; getfacl -R from) > $dir.own
            diff $dir.cp $dir.own
        done
    "#;
    if !has_tools_or_skip("acls_are_those_of_the_source", &["setfacl"]) {
        return;
    }
    let output = Command::new("sh")
        .args(["-c", script])
        .env("OWN", &*MMAPCP)
        .current_dir(disk.path())
        .output()
        .unwrap();
    assert_exit(&output, 0);
}

/// cp of coreutils 9.1 refuses this for operands only, and writes out of the tree otherwise.
#[test]
fn a_link_that_was_just_made_is_not_written_through() {
    let shm = shm_dir();
    let at = |name: &str| shm.path().join(name);
    for dir in ["links", "files", "to"] {
        fs::create_dir(at(dir)).unwrap();
    }
    fs::write(at("victim"), b"precious").unwrap();
    std::os::unix::fs::symlink(at("victim"), at("links/x")).unwrap();
    fs::write(at("files/x"), b"other").unwrap();
    let output = run(mmapcp()
        .arg("-r")
        .args([at("links/."), at("files/."), at("to")]));
    assert_exit(&output, 1);
    assert!(
        describe_output(&output).contains("through just-created symlink"),
        "{}",
        describe_output(&output)
    );
    assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
}

/// An earlier operand was written through the link: cp counts the name as created, by the link's inode.
#[test]
fn a_link_that_an_operand_was_written_through_is_not_written_through_again() {
    let table = r#"
        a file, again :: LINKED :: $CP README good/README tmp; cat tmp/foo
        with -v :: LINKED :: $CP -v README good/README tmp; cat tmp/foo
        with -f :: LINKED :: $CP -f README good/README tmp; cat tmp/foo
        with -b :: LINKED :: $CP --backup=numbered README good/README tmp; cat tmp/foo
        with -n :: LINKED :: $CP -n README good/README tmp; cat tmp/foo
        removed first :: LINKED :: $CP --remove-destination README good/README tmp; cat tmp/foo
        as links :: LINKED; ln -s x good/l; ln -s y l :: $CP -P l good/l tmp
        another name of the link :: LINKED; ln tmp/README tmp/OTHER; cp good/README good/OTHER :: $CP README good/OTHER tmp; cat tmp/foo
        not a link :: LINKED; rm tmp/README :: $CP README good/README tmp; cat tmp/README
        a link that leads nowhere :: LINKED; rm tmp/foo :: $CP README good/README tmp
    "#;
    let linked =
        "mkdir good tmp; echo 1 >README; echo 22 >good/README; touch tmp/foo; ln -s foo tmp/README";
    assert_same_as_cp(&table.replace("LINKED", linked), ComparisonOptions::PLAIN);
}

/// Two directories of the source that lead to one of the destination: the second copy of a name is the one that stays, whole.
#[test]
fn two_paths_to_one_directory_keep_their_order() {
    let shm = shm_dir();
    let script = r#"
        set -e
        copy="$OWN -r --keep-directory-symlink"
        mkdir -p s/d1 s/d2 one/d1; ln -s d1 one/d2
        for n in $(seq 100); do
            head -c 60000 /dev/zero | tr '\0' a > s/d1/f$n
            head -c 30000 /dev/zero | tr '\0' b > s/d2/f$n
        done
        $copy --jobs=1 s/. one
        for round in 1 2 3 4 5; do
            rm -rf d; mkdir -p d/d1; ln -s d1 d/d2
            $copy --jobs=4 s/. d; diff -r one d
            $copy --jobs=4 s/. d; diff -r one d
        done
    "#;
    let output = Command::new("sh")
        .args(["-c", script])
        .env("OWN", &*MMAPCP)
        .current_dir(shm.path())
        .output()
        .unwrap();
    assert_exit(&output, 0);
}

/// A directory that may be written to, but not read, has no descriptor that can be synced; --fsync waits for everything then.
#[test]
fn what_cannot_be_synced_alone_is_synced_with_all() {
    let (place, bin) = public_bin_dir();
    let script = r#"
        set -e
        cd "$(mktemp -d)"
        mkdir -p empty dd; echo x > f; chmod 300 dd
        "$OWN/mmapcp" --fsync -r empty/. dd
        "$OWN/mmapcp" --fsync -s "$PWD/f" dd/
        chmod 700 dd; [ -L dd/f ]; cd ..; rm -rf "$OLDPWD"
    "#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env("OWN", &bin)
        .env("TMPDIR", std::env::temp_dir());
    let output = run(as_nobody(&mut command));
    assert_exit(&output, 0);
    drop(place);
}
