//! Attributes that a file system refuses: immutable and append-only files, no extended attributes, no room for one.

use std::path::Path;
use std::process::Command;

use super::Lab;
use super::test_filesystem::{FsKind, Mount};
use super::tool_command::search_path;
use crate::tested_programs::MMAPCP;

const TOOLS: [&str; 7] = [
    "chattr",
    "losetup",
    "mkfs.ext4",
    "mount",
    "setfacl",
    "setfattr",
    "umount",
];

/// Runs each command in two equal trees, with cp in one and with mmapcp in the other, and compares all that is left.
fn agree(mount: &Mount, prepare: &str, commands: &[&str]) {
    for (number, command) in commands.iter().enumerate() {
        let of = |program: &str, name: &str| {
            let dir = mount.path(&format!("{name}{number}"));
            std::fs::create_dir(&dir).expect("a directory");
            outcome(&dir, prepare, command, program)
        };
        let (cp, ours) = (of("/bin/cp", "cp"), of(&MMAPCP, "ours"));
        assert_eq!(ours, cp, "{command}");
    }
}

/// Status, words and tree, times by the day. `$CP` is the program; immutable files are freed in the end.
fn outcome(dir: &Path, prepare: &str, command: &str, program: &str) -> String {
    let look = "find . -printf '%P %y %m %U:%G %n %l %TY%Tj\\n' | sort; \
        getfattr -hdR -m - . 2>/dev/null | sort; find . -type f -exec cksum {} + | sort -k3; \
        lsattr -R . 2>/dev/null | sort";
    let script = format!(
        "{prepare}\nfind . -exec touch -hd '2011-11-11 11:11:11.123456789' {{}} + 2>/dev/null\n{command}\necho status $?\n{look}\n\
        chattr -R -i -a . 2>/dev/null; true"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .env("CP", program)
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .output()
        .expect("sh");
    let told = String::from_utf8_lossy(&output.stderr).replace("/bin/cp: ", "mmapcp: ");
    let told: Vec<&str> = told.lines().collect();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.contains("status "), "{command}: {seen}");
    format!("{}\n{seen}", told.join("\n"))
}

#[test]
fn immutable_and_append_only() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(mount) = lab.mount(FsKind::Ext4, 64) else {
        return;
    };
    let prepare = "umask 022; echo new > a; chown 1:2 a; chmod 640 a; mkdir there t; echo in > t/in; \
        for f in i a; do echo old > there/$f; mkdir there/d$f; chattr +$f there/$f there/d$f; done";
    let commands = [
        "$CP a there/i",
        "$CP a there/a",
        "$CP -f a there/i",
        "$CP -f a there/a",
        "$CP -p a there/i",
        "$CP -p a there/a",
        "$CP --remove-destination a there/i",
        "$CP --remove-destination -p a there/a",
        "$CP --attributes-only -p a there/a",
        "$CP -p a there/di",
        "$CP -p a there/da",
        "$CP -a t there/da",
        "$CP -aT t there/di",
        "$CP -aT t there/da",
        "$CP -a there/i new; $CP -a there/di also",
    ];
    agree(&mount, prepare, &commands);
}

/// ramfs has neither ACLs nor extended attributes.
#[test]
fn without_extended_attributes() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let (Some(mount), Some(rich)) = (lab.mount(FsKind::Ramfs, 16), lab.mount(FsKind::Tmpfs, 16))
    else {
        return;
    };
    let at = rich.path("t");
    let prepare = format!(
        "umask 022; [ -e {0} ] || (mkdir {0} {0}/d; cd {0}; echo x > plain; echo x > user; setfattr -n user.x -v 1 user; \
        echo x > acl; setfacl -m u:bin:rwx acl; setfacl -d -m u:bin:rwx d; echo x > both; setfattr -n user.y -v 2 both; \
        setfacl -m g:bin:x both; mkfifo fifo; ln -s x link; setfattr -hn trusted.l -v 1 link; chmod 4755 plain; chown 1:2 user)",
        at.display()
    );
    let commands: Vec<String> = [
        "-r",
        "-rp",
        "-a",
        "-r --preserve=xattr",
        "-r --preserve=all",
        "-r --preserve=mode",
        "-r --no-preserve=mode",
        "-r --preserve=xattr,mode",
        "-r --preserve=xattr --attributes-only",
    ]
    .iter()
    .map(|words| format!("$CP {words} {} new", at.display()))
    .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    agree(&mount, &prepare, &commands);
}

/// An attribute that is larger than the file system has room for fails in the middle of the others.
#[test]
fn no_room_for_an_attribute() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let (Some(mount), Some(rich)) = (lab.mount(FsKind::Ext4, 64), lab.mount(FsKind::Tmpfs, 16))
    else {
        return;
    };
    let at = rich.path("t");
    let prepare = format!(
        "umask 022; [ -e {0} ] || (mkdir {0}; cd {0}; echo x > a; setfattr -n user.a -v 1 a; \
        setfattr -n user.big -v $(head -c 20000 /dev/zero | tr '\\0' x) a; setfattr -n user.z -v 2 a; chown 1:2 a; chmod 4710 a)",
        at.display()
    );
    let commands: Vec<String> = ["-p", "-a", "--preserve=xattr", "--preserve=all", "-p --preserve=xattr"]
        .iter()
        .map(|words| format!("$CP {words} {}/a new 2>told; s=$?; sed \"s/ for '.*':/:/; s/^[^ ]*:/:/\" told; rm told; (exit $s)", at.display()))
        .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    agree(&mount, &prepare, &commands);
}
