//! Directories beside cp: into themselves, twice, with their parents, closed ones, and those in the way of files.

use crate::cp_differential::{ComparisonOptions, assert_each_same_as_cp};
use crate::support::*;

#[test]
fn a_directory_into_itself() {
    let table = r#"
        into itself, WORD :: $CP WORD dir dir
        to a new name inside, WORD :: $CP WORD dir dir/new
        to a new name deep inside, WORD :: $CP WORD dir dir/sub/new
        into its child, WORD :: $CP WORD dir dir/sub
        over its child, WORD :: $CP WORD -T dir dir/sub
        over itself, WORD :: $CP WORD -T dir dir
        over itself by another name, WORD :: $CP WORD -T dir other/../dir
        its contents into itself, WORD :: $CP WORD dir/. dir
        its contents into its child, WORD :: $CP WORD dir/. dir/sub
        its contents to a new name inside, WORD :: $CP WORD dir/. dir/new
        dot into dot, WORD :: $CP WORD . .
        dot to a new name, WORD :: $CP WORD . new
        dot into a child, WORD :: $CP WORD . other
        dot-dot into a child, WORD :: mkdir -p top/in; printf 1 > top/1 :: cd top/in; $CP WORD .. new
        through a link to itself, WORD :: $CP WORD dir dlink
        through a link inside, WORD :: ln -s . dir/self :: $CP WORD dir dir/self
        a child into its parent, WORD :: $CP WORD dir/sub dir
        a child over its parent, WORD :: $CP WORD -T dir/sub dir
        a child's contents into its parent, WORD :: $CP WORD dir/sub/. dir
        with others, WORD :: $CP WORD dir a dir
        with others before, WORD :: $CP WORD a dir b dir
        with -t, WORD :: $CP WORD -t dir a dir other
        with a backup, WORD :: $CP WORD -b dir dir
        told, WORD :: $CP WORD -v dir dir
    "#;
    let words = ["-R", "-a", "-RH", "-Rl", "-Ru", "-Rn", "-R --copy-contents"];
    assert_each_same_as_cp(
        table,
        &words,
        ComparisonOptions::ANY_COPIED_AMOUNT.in_memory(),
    );
}

#[test]
fn the_same_source_twice() {
    let table = r#"
        a file, WORD :: $CP WORD a a other
        a file thrice, WORD :: $CP WORD a a a other
        a file spelt otherwise, WORD :: $CP WORD a ./a other
        a file by two hard links, WORD :: $CP WORD a hard other
        a file by a link, WORD :: ln -s ../a l; mkdir ld; ln -s ../a ld/a :: $CP WORD a ld/a other
        a file that is there, WORD :: printf old > other/a :: $CP WORD a a other
        a missing file, WORD :: $CP WORD no no other
        a link, WORD :: $CP WORD link link other
        a directory, WORD :: $CP WORD dir dir other
        a directory spelt otherwise, WORD :: $CP WORD dir ./dir dir/ other
        a directory and its contents, WORD :: $CP WORD dir dir/. other
        a directory by a link, WORD :: $CP WORD dir dlink other
        a directory and a file in it, WORD :: $CP WORD dir dir/x other
        a file in a directory, twice, WORD :: $CP WORD dir/x dir/x other
        two files of one name, WORD :: mkdir two; printf 2 > two/x :: $CP WORD dir/x two/x other
        two files of one name, one is there, WORD :: mkdir two; printf 2 > two/x; printf old > other/x :: $CP WORD dir/x two/x other
        two links of one name, WORD :: mkdir two; ln -s 2 two/rel :: $CP WORD dir/rel two/rel other
        a link and a file of one name, WORD :: mkdir two; printf 2 > two/rel :: $CP WORD dir/rel two/rel other
        two directories of one name, WORD :: mkdir -p two/dir; printf 2 > two/dir/x; printf z > two/dir/z :: $CP WORD dir two/dir other
        a file and a directory of one name, WORD :: mkdir -p two/a :: $CP WORD a two/a other
        a directory and a file of one name, WORD :: mkdir two; printf 2 > two/dir :: $CP WORD dir two/dir other
        two contents, WORD :: mkdir two; printf 2 > two/x :: $CP WORD dir/. two/. other
        two FIFOs of one name, WORD :: mkdir two; cp -a sock two :: $CP WORD sock two/sock other
    "#;
    let words = [
        "",
        "-R",
        "-a",
        "-Rf",
        "-Rn",
        "-Rb",
        "-R --backup=numbered",
        "-Rv",
        "-RL",
        "-Rl",
        "-Ru",
        "-R --remove-destination",
        "-R --parents",
        "-R --attributes-only",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

#[test]
fn parents_option() {
    let table = r#"
        a file, WORD :: $CP WORD --parents a other
        a file below, WORD :: $CP WORD --parents dir/sub/y other
        a file below, parents are there, WORD :: mkdir -m 700 -p other/dir :: $CP WORD --parents dir/sub/y other
        a file below, told, WORD :: $CP WORD -v --parents dir/sub/y other
        several, WORD :: $CP WORD --parents dir/x dir/sub/y a other
        several, told, WORD :: $CP WORD -v --parents dir/x dir/sub/y a other
        a directory, WORD :: $CP WORD --parents dir/sub other
        a directory, told, WORD :: $CP WORD -v --parents dir/sub other
        a directory with a slash, WORD :: $CP WORD --parents dir/sub/ other
        a directory with a dot, WORD :: $CP WORD --parents dir/sub/. other
        many slashes, WORD :: $CP WORD --parents dir//sub///y other
        dots, WORD :: $CP WORD --parents ./dir/./x other
        dot-dot, WORD :: $CP WORD --parents dir/../dir/x other
        dot-dot at the beginning, WORD :: mkdir top top/to :: cd top; $CP WORD --parents ../dir/x to
        an absolute name, WORD :: $CP WORD --parents "$PWD/dir/x" other 2> said; rm said; find other -name x | sed 's|.*/|/|'; rm -rf other
        through a link, WORD :: $CP WORD --parents dlink/x other
        through a link, which is there, WORD :: mkdir other/dir; ln -s dir other/dlink :: $CP WORD --parents dlink/x other
        a link, WORD :: $CP WORD --parents dir/rel other
        to a file, WORD :: $CP WORD --parents dir/x b
        to a new name, WORD :: $CP WORD --parents dir/x new
        to a new name with a slash, WORD :: $CP WORD --parents dir/x new/
        exactly, WORD :: $CP WORD --parents -T dir/x new
        exactly, a directory, WORD :: $CP WORD --parents -T dir/x other
        with -t, WORD :: $CP WORD --parents -t other dir/x dir/sub/y
        a missing file, WORD :: $CP WORD --parents dir/no other
        a missing parent, WORD :: $CP WORD --parents no/x other
        a file as a parent, WORD :: $CP WORD --parents a/x other
        a file in the place of a parent, WORD :: printf f > other/dir :: $CP WORD --parents dir/x other
        a dangling link in the place of a parent, WORD :: ln -s no other/dir :: $CP WORD --parents dir/x other
        odd modes, WORD :: chmod 2751 dir; chmod 1700 dir/sub :: $CP WORD --parents dir/sub/y other
        umask, WORD :: chmod 777 dir dir/sub :: umask 027; $CP WORD --parents dir/sub/y other
        a closed umask, WORD :: umask 777; $CP WORD --parents dir/sub/y other
        owners, WORD :: chown 12:34 dir; chown 56:78 dir/sub :: $CP WORD --parents dir/sub/y other
        the old word, WORD :: $CP WORD --path dir/x other
        the same twice, WORD :: $CP WORD --parents dir/x dir/x other
        into itself, WORD :: $CP WORD --parents dir/sub/y dir
        a tree into itself, WORD :: $CP WORD --parents dir dir
    "#;
    let words = [
        "",
        "-R",
        "-a",
        "-p",
        "-l",
        "-s",
        "-P",
        "-n",
        "-b",
        "-u",
        "--preserve=mode",
        "--no-preserve=mode",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

/// What is in the way of a walk.
#[test]
fn files_and_directories_in_each_others_way() {
    let table = r#"
        a file over a directory, WORD :: mkdir other/a :: $CP WORD a other
        a file over a full directory, WORD :: mkdir -p other/a/full :: $CP WORD a other
        a directory over a file, WORD :: printf f > other/dir :: $CP WORD dir other
        a directory over a link to a file, WORD :: ln -s ../a other/dir :: $CP WORD dir other
        a directory over a dangling link, WORD :: ln -s no other/dir :: $CP WORD dir other
        a directory over a link to a directory, WORD :: mkdir e; ln -s ../e other/dir :: $CP WORD dir other
        a directory over a FIFO, WORD :: mkfifo other/dir :: $CP WORD dir other
        a link over a directory, WORD :: mkdir other/dlink :: $CP WORD dlink other
        a link over a link to a directory, WORD :: mkdir e; ln -s ../e other/dlink :: $CP WORD dlink other
        a FIFO over a directory, WORD :: mkdir other/sock :: $CP WORD sock other
        inside, a file over a directory, WORD :: mkdir -p other/dir/x :: $CP WORD dir other
        inside, a directory over a file, WORD :: mkdir other/dir; printf f > other/dir/sub :: $CP WORD dir other
        inside, a directory over a link, WORD :: mkdir other/dir e; ln -s ../../e other/dir/sub :: $CP WORD dir other
        inside, a link over a directory, WORD :: mkdir -p other/dir/rel :: $CP WORD dir other
        inside, a link over a file, WORD :: mkdir other/dir; printf f > other/dir/rel :: $CP WORD dir other
        inside, a file over a link, WORD :: mkdir other/dir; ln -s ../../b other/dir/x :: $CP WORD dir other
        inside, a file over a socket, WORD :: mkdir other/dir; cp -a sock other/dir/x :: $CP WORD dir other
        the others go on, WORD :: mkdir -p other/dir/x other/a; printf f > other/b :: $CP WORD dir a b other
    "#;
    let words = [
        "-R",
        "-a",
        "-Rf",
        "-Rn",
        "-Rb",
        "-R --backup=t",
        "-R --remove-destination",
        "-Ru",
        "-RL",
        "-Rl",
        "-Rs",
        "-RT",
        "-Rv",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

#[test]
fn directories_without_permission() {
    if !is_root_or_skip("directories_without_permission") {
        return;
    }
    let table = r#"
        a read-only directory, WORD :: chmod 555 dir dir/sub; chmod 777 other :: $CP WORD dir other
        over a read-only directory of one's own, WORD :: mkdir -p other/dir/sub; chown -R 65534 other; chmod 555 other/dir :: $CP WORD dir other
        over a read-only directory of another one, WORD :: mkdir -p other/dir/sub :: $CP WORD dir other
        over a closed directory, WORD :: mkdir -p other/dir/sub; chmod 700 other/dir/sub; chmod 777 other/dir :: $CP WORD dir other
        an unreadable file, WORD :: chmod 600 dir/x; chmod 777 other :: $CP WORD dir other
        an unreadable directory, WORD :: chmod 711 dir/sub; chmod 777 other :: $CP WORD dir other
        a directory without x, WORD :: chmod 744 dir/sub; chmod 777 other :: $CP WORD dir other
        a closed operand, WORD :: chmod 700 dir; chmod 777 other :: $CP WORD dir other
        over a read-only file, WORD :: mkdir other/dir; printf o > other/dir/x; chmod 777 other/dir :: $CP WORD dir other
        over a read-only file of one's own, WORD :: mkdir other/dir; printf o > other/dir/x; chmod 444 other/dir/x; chown -R 65534 other/dir :: $CP WORD dir other
        a sticky directory, WORD :: mkdir other/dir; printf o > other/dir/x; chmod 1777 other/dir :: $CP WORD dir other
        owners, WORD :: chmod 777 other; chown -h 65534 dir/x dir/rel :: $CP WORD dir other
        set-id, WORD :: chmod 777 other; chmod 2755 dir/sub; chmod 6755 dir/x :: $CP WORD dir other
        umask, WORD :: chmod 777 other :: umask 277; $CP WORD dir other
    "#;
    let words = [
        "-R",
        "-a",
        "-Rp",
        "-Rf",
        "-R --remove-destination",
        "-Rb",
        "-R --parents",
        "-Ri",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::NOBODY_ANY_ORDER);
}
