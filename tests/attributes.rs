//! Attributes beside cp's: mode, owner, times, extended attributes and ACLs, under each word that asks for them.

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

/// A tree with all that attributes can be, and destinations that were there before.
const TREE: &str = r"
    mkdir t t/d t/plain t/closed t/sticky t/group t/given
    for m in 4755 2755 6711 2644 1644 0444 0640 0602 0777 0000; do echo $m > t/m$m; done
    echo daemon > t/daemon; echo both > t/both; ln -s x t/link; mkfifo t/fifo; mv sock t/sock; mknod t/null c 1 3
    echo in > t/d/in; echo in > t/closed/in; echo in > t/given/in
    echo acl > t/acl; echo narrow > t/narrow; echo x > t/xattr; echo x > t/readonly; echo cap > t/cap
    chown 1:2 t/m6711 t/m1644 t/d t/both; chown -h 1:2 t/link; chown 1 t/daemon t/fifo; chown :2 t/sticky t/null
    for f in t/m*; do chmod ${f#t/m} $f; done
    chmod 4711 t/both; chmod 2775 t/d; chmod 0555 t/closed; chmod 1777 t/sticky; chmod 2770 t/group
    chmod 640 t/fifo; chmod 606 t/sock; chmod 444 t/readonly; chmod 755 t/cap
    setfacl -m u:bin:rw t/acl; chmod 670 t/narrow; setfacl -m g::-,u:bin:rwx t/narrow
    setfacl -d -m u:bin:rx t/given; setfacl -m u:daemon:rwx,g::- t/given
    setfattr -n user.x -v 1 t/xattr; setfattr -n user.y -v 2 t/readonly; setfattr -n user.d -v 3 t/d
    setfattr -n user.d -v 4 t/closed; setfattr -n trusted.t -v 5 t/xattr; setfattr -h -n trusted.l -v 6 t/link
    setfattr -n user.acl -v 7 t/acl; setcap cap_net_raw+ep t/cap
    mkdir inherit sgid there there/d there/closed there/given
    setfacl -d -m u:daemon:rwx,g::rx inherit; chown :3 sgid; chmod 2777 sgid; chmod 777 inherit
    for f in m4755 m2755 m0640 m0444 daemon both acl narrow xattr readonly cap; do echo old > there/$f; done
    chown 3:4 there/m4755 there/both there/closed; chmod 4755 there/m2755; chmod 666 there/m0640 there/xattr
    chmod 6775 there/daemon; chmod 2600 there/cap
    setfacl -m u:sys:rw there/acl there/m0640; setfacl -d -m u:sys:rw there/d; setfattr -n user.old -v 1 there/xattr
";

/// What of it belongs to nobody; the rest stays root's, whose 0777 or ACL may be written to all the same.
const GIVE_TO_NOBODY_SCRIPT: &str = r"
    chown -h 65534:65534 . t/m2755 t/m0444 t/m4755 t/d t/d/in t/readonly t/closed t/closed/in t/narrow t/acl t/given t/link
    chown 65534:65534 inherit other there there/d there/m2755 there/m4755 there/m0444 there/both there/acl there/readonly
    chmod 4755 t/m4755 there/m4755; chmod 2755 t/m2755 there/m2755; chmod 777 sgid there/closed
";

/// What is preserved, one combination a line.
const PRESERVE_OPTIONS: [&str; 24] = [
    "",
    "-p",
    "-a",
    "--preserve=mode",
    "--preserve=ownership",
    "--preserve=timestamps",
    "--preserve=xattr",
    "--preserve=all",
    "--preserve=mode,ownership",
    "--preserve=mode,timestamps",
    "--preserve=ownership,timestamps",
    "--preserve=mode,xattr",
    "--preserve=ownership,xattr",
    "--preserve=timestamps,xattr",
    "--no-preserve=mode",
    "-p --no-preserve=mode",
    "-p --no-preserve=ownership",
    "-p --no-preserve=timestamps",
    "-a --no-preserve=xattr",
    "-a --no-preserve=mode",
    "--preserve=ownership --no-preserve=mode",
    "--preserve=xattr --no-preserve=mode",
    "--preserve=all --no-preserve=all",
    "-p --preserve=xattr",
];

/// Those whose end depends on the mask.
const UMASK_DEPENDENT_OPTIONS: [&str; 6] = [
    "",
    "-p",
    "--preserve=ownership",
    "--preserve=xattr",
    "--no-preserve=mode",
    "--preserve=ownership --no-preserve=mode",
];

/// Into the empty, into a default ACL, into a set-group-id directory, over what is there.
const COPY_COMMANDS: &str = "$CP -r WORDS t new; echo $?; $CP -r WORDS t inherit; echo $?; $CP -r WORDS t sgid; echo $?; \
    $CP -rT WORDS t there; echo $?; $CP WORDS t/m* t/acl t/narrow t/xattr t/readonly t/cap other; echo $?";

/// Every copy of `words` under each mask.
fn table(prepare: &str, words: &[&str], umasks: &[&str]) -> String {
    let lines: Vec<&str> = prepare
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let prepare = lines.join("; ");
    let mut table = String::new();
    for umask in umasks {
        for words in words {
            let copies = COPY_COMMANDS.replace("WORDS", words);
            table += &format!("umask {umask}, {words} :: {prepare} :: umask {umask}; {copies}\n");
        }
    }
    table
}

/// Root, and the tools that make such a tree.
fn can_run(test: &str) -> bool {
    has_tools_or_skip(test, &["setfacl", "setfattr", "setcap"]) && is_root_or_skip(test)
}

#[test]
fn every_preserve_option_as_root() {
    if can_run("every_preserve_option_as_root") {
        assert_same_as_cp(
            &table(TREE, &PRESERVE_OPTIONS, &["022"]),
            ComparisonOptions::ANY_ORDER,
        );
    }
}

/// The masks that matter: one that takes from the group, too, and none.
#[test]
fn preserve_options_under_other_umasks() {
    if can_run("preserve_options_under_other_umasks") {
        assert_same_as_cp(
            &table(TREE, &UMASK_DEPENDENT_OPTIONS, &["077", "0"]),
            ComparisonOptions::ANY_ORDER,
        );
    }
}

/// What cannot be given away is not, and the set-id bits with it.
#[test]
fn every_preserve_option_as_nobody() {
    if can_run("every_preserve_option_as_nobody") {
        let tree = [TREE, GIVE_TO_NOBODY_SCRIPT].concat();
        assert_same_as_cp(
            &table(&tree, &PRESERVE_OPTIONS, &["022"]),
            ComparisonOptions::NOBODY_ANY_ORDER,
        );
        assert_same_as_cp(
            &table(&tree, &UMASK_DEPENDENT_OPTIONS, &["0277"]),
            ComparisonOptions::NOBODY_ANY_ORDER,
        );
    }
}
