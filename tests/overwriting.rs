//! What becomes of a file that is there, beside cp: -n, -i, -u, -f, --remove-destination, backups, attributes without data.

use crate::cp_differential::{ComparisonOptions, assert_each_same_as_cp, assert_same_as_cp};

/// What can be in the way, and what can come to it.
const EXISTING_FILES_SCRIPT: &str = r#"
    a file, WORD :: $CP WORD a b
    a file into a directory, WORD :: printf old > other/a :: $CP WORD a other
    nothing, WORD :: $CP WORD a new
    an older file, WORD :: touch -d 2001-01-01 b :: $CP WORD a b
    a newer file, WORD :: touch -d 2019-01-01 b :: $CP WORD a b
    newer by a nanosecond, WORD :: touch -d '2011-11-11 11:11:11.123456788' a :: $CP WORD a b
    older by a nanosecond, WORD :: touch -d '2011-11-11 11:11:11.12345679' a :: $CP WORD a b
    newer within the second, WORD :: touch -d '2011-11-11 11:11:11' a :: $CP WORD a b
    itself, WORD :: $CP WORD a a
    its hard link, WORD :: $CP WORD a hard
    a link to it, WORD :: $CP WORD a link
    it, by a link, WORD :: $CP WORD link a
    a link to another one, WORD :: $CP WORD b link
    a link, by a link, WORD :: ln -s b blink :: $CP WORD -P link blink
    a dangling link, WORD :: $CP WORD a dangling
    a directory, WORD :: $CP WORD -T a other
    a file that two names share, WORD :: $CP WORD b a
    a read-only file, WORD :: chmod 444 b :: $CP WORD a b
    a set-id file, WORD :: chmod 6755 b :: $CP WORD a b
    a file of another one, WORD :: chown 12:34 b :: $CP WORD a b
    a socket, WORD :: $CP WORD a sock
    a file, with -p, WORD :: chmod 640 a :: $CP WORD -p a b
    an empty file comes, WORD :: $CP WORD empty b
    a missing file comes, WORD :: $CP WORD no b
    a directory comes, WORD :: $CP WORD dir b
    a missing directory, WORD :: $CP WORD a no/b
    several, WORD :: printf o > other/a; touch -d 2001-01-01 other/a; printf o > other/b; touch -d 2019-01-01 other/b :: $CP WORD a b empty other
    told, WORD :: $CP WORD -v a b
    told, several, WORD :: printf o > other/a; touch -d 2001-01-01 other/a; printf o > other/b; touch -d 2019-01-01 other/b :: $CP WORD -v a b empty other
    a tree, WORD :: cp -a dir other; touch -d 2001-01-01 other/dir/x; touch -d 2019-01-01 other/dir/sub/y :: $CP WORD -R dir other
    a tree, told, WORD :: cp -a dir other; touch -d 2001-01-01 other/dir/x; touch -d 2019-01-01 other/dir/sub/y :: $CP WORD -Rv dir other
    a tree, kept, WORD :: cp -a dir other; touch -d 2001-01-01 other/dir/x; touch -d 2019-01-01 other/dir/sub/y :: $CP WORD -av dir other
    a device, WORD :: mknod null c 1 3 :: $CP WORD a null
"#;

fn beside_cp(words: &[&str]) {
    let style = ComparisonOptions::ANY_ORDER.in_memory();
    assert_each_same_as_cp(EXISTING_FILES_SCRIPT, words, style);
}

#[test]
fn no_clobber_and_update() {
    beside_cp(&[
        "-n",
        "-u",
        "-nu",
        "-un",
        "-in",
        "-ni",
        "-nf",
        "-uf",
        "-u --attributes-only",
        "-ub",
        "-ul",
        "-us",
        "-up",
    ]);
}

#[test]
fn remove_destination() {
    beside_cp(&[
        "-f",
        "--remove-destination",
        "-f --remove-destination",
        "-n --remove-destination",
        "-u --remove-destination",
        "-b --remove-destination",
        "--attributes-only --remove-destination",
        "-d --remove-destination",
    ]);
}

/// Simple backups have a table of their own: 9.1 puts those of files in a directory into the current one.
#[test]
fn overwriting_with_backup() {
    beside_cp(&[
        "--backup=numbered",
        "--backup=none",
        "--backup=t -R --no-dereference",
    ]);
}

#[test]
fn attributes_only() {
    beside_cp(&[
        "--attributes-only",
        "--attributes-only -p",
        "--attributes-only --preserve=mode",
        "--attributes-only -f",
        "--attributes-only -d",
        "--attributes-only --sparse=always",
        "--attributes-only --reflink=always",
    ]);
}

/// Answers from a pipe: what a line begins with counts, and no line is a no.
#[test]
fn interactive_prompts() {
    let table = r#"
        a file, ANSWER :: printf 'ANSWER' | $CP -i a b
        to a new name, ANSWER :: printf 'ANSWER' | $CP -i a new
        told, ANSWER :: printf 'ANSWER' | $CP -iv a b
        twice, ANSWER :: printf o > other/a; printf o > other/b :: printf 'ANSWER' | $CP -i a b empty other
        a tree, ANSWER :: cp -a dir other :: printf 'ANSWER' | $CP -iR dir other
        read-only, ANSWER :: chmod 444 b :: printf 'ANSWER' | $CP -i a b
        read-only with -f, ANSWER :: chmod 444 b :: printf 'ANSWER' | $CP -if a b
        odd modes, ANSWER :: chmod 6751 b :: printf 'ANSWER' | $CP -i a b
        no modes at all, ANSWER :: chmod 0 b :: printf 'ANSWER' | $CP -i a b
        a link, ANSWER :: printf 'ANSWER' | $CP -i b link
        a link, not followed, ANSWER :: ln -s b blink :: printf 'ANSWER' | $CP -iP blink link
        a dangling link, ANSWER :: printf 'ANSWER' | $CP -i a dangling
        a directory, ANSWER :: printf 'ANSWER' | $CP -iT a other
        itself, ANSWER :: printf 'ANSWER' | $CP -i a a
        older, ANSWER :: touch -d 2001-01-01 b :: printf 'ANSWER' | $CP -iu a b
        newer, ANSWER :: touch -d 2019-01-01 b :: printf 'ANSWER' | $CP -iu a b
        with a backup, ANSWER :: printf 'ANSWER' | $CP -ib a b
        removed first, ANSWER :: printf 'ANSWER' | $CP -i --remove-destination a b
        a hard link instead, ANSWER :: printf 'ANSWER' | $CP -il a b
        a link instead, ANSWER :: printf 'ANSWER' | $CP -is a b
        attributes only, ANSWER :: printf 'ANSWER' | $CP -i --attributes-only a b
        a missing file, ANSWER :: printf 'ANSWER' | $CP -i no b
        -n before, ANSWER :: printf 'ANSWER' | $CP -ni a b
        -n after, ANSWER :: printf 'ANSWER' | $CP -in a b
    "#;
    for answer in [
        "y\\n",
        "n\\n",
        "",
        "y",
        "\\n",
        "Yes\\n",
        " y\\n",
        "yn\\ny\\n",
        "n\\ny\\ny\\n",
        "1\\n",
    ] {
        let cases = table.replace("ANSWER", answer);
        assert_same_as_cp(&cases, ComparisonOptions::ANY_ORDER.in_memory());
    }
    let nobody = r#"
        a file of another one :: chmod 777 other; printf o > other/a :: printf 'y\n' | $CP -i a other
        a file of another one with -f :: chmod 777 other; printf o > other/a :: printf 'y\n' | $CP -if a other
        a file of another one, no :: chmod 777 other; printf o > other/a :: printf 'n\n' | $CP -if a other
        a file of one's own, read-only :: chown 65534 b; chmod 400 b :: printf 'y\n' | $CP -i a b
        /dev/null :: chmod 666 b :: $CP -i a b < /dev/null
    "#;
    assert_same_as_cp(nobody, ComparisonOptions::NOBODY);
}

/// At a terminal, which `script` makes: the question is the same. It does not show the answer, which comes when it likes.
#[test]
fn interactive_prompts_at_a_terminal() {
    let table = r#"
        a file, ANSWER :: printf 'ANSWER' | script -E never -qe --log-out=/dev/null -c '$CP -i a b' | sed 's/mmapcp: /cp: /g'
        a tree, ANSWER :: cp -a dir other :: printf 'ANSWER' | script -E never -qe --log-out=/dev/null -c '$CP -iR dir/sub other/dir' | sed 's/mmapcp: /cp: /g'
        several, ANSWER :: printf o > other/a; printf o > other/b :: printf 'ANSWER' | script -E never -qe --log-out=/dev/null -c '$CP -i a b other' | sed 's/mmapcp: /cp: /g'
    "#;
    for answer in ["y\\n", "n\\n", "y\\ny\\n"] {
        let cases = table.replace("ANSWER", answer);
        assert_same_as_cp(&cases, ComparisonOptions::ANY_ORDER.in_memory());
    }
}
