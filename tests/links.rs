//! Links, hard and symbolic, beside cp: which are followed, which are kept, what becomes of those in the way, and -l and -s.

use crate::cp_differential::{ComparisonOptions, assert_each_same_as_cp, assert_same_as_cp};

#[test]
fn hard_links_are_kept() {
    let table = r#"
        in a tree, WORD :: LINKED :: $CP -R WORD dir new; find new -type f -printf '%P %n\n' | sort
        among arguments, WORD :: LINKED :: $CP -R WORD a hard b dir other
        among arguments that are files, WORD :: $CP WORD a hard b other
        told, WORD :: LINKED :: $CP -Rv WORD a hard dir other
        with a tree and a file, WORD :: LINKED; ln a dir/alpha :: $CP -R WORD a dir other
        of a symbolic link, WORD :: ln link dir/again; ln -P link second :: $CP -R WORD link second dir other
        of a link to the file, WORD :: LINKED :: $CP -R WORD a link other
        of two links to a file, WORD :: ln -s a link2 :: $CP -R WORD link link2 other
        of links to a directory, WORD :: ln -s dir dlink2 :: $CP -R WORD dlink dlink2 dir other
        in a tree with links to itself, WORD :: LINKED; ln -s x dir/again :: $CP -R WORD dir new
        through a link to a directory, WORD :: LINKED :: $CP -R WORD dlink new
        over a tree, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; printf old > other/dir/x2 :: $CP -R WORD dir other
        over a tree of links, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; ln other/dir/x other/dir/x2 :: $CP -R WORD dir other
        over a tree of other links, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; ln other/dir/x other/dir/z :: $CP -R WORD dir other
        over a link already right, WORD :: LINKED; cp -a dir other :: $CP -Rv WORD dir other
        over directories, WORD :: LINKED; mkdir -p other/dir/x other/dir/x2 :: $CP -R WORD dir other
        not over files, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x2 :: $CP -Rn WORD dir other
        with backups, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; printf old > other/dir/x2 :: $CP -Rb WORD dir other
        removed first, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; ln other/dir/x other/dir/x2 :: $CP -R --remove-destination WORD dir other
        only newer, WORD :: LINKED; mkdir other/dir; printf old > other/dir/x; touch -d 2019-01-01 other/dir/x :: $CP -Ru WORD dir other
        only newer, first is in place, WORD :: LINKED; mkdir other/dir; cp -p dir/x other/dir/x; touch -d 2019-01-01 other/dir/x :: $CP -Ruv WORD dir other
    "#;
    for words in [
        "-d",
        "-a",
        "--preserve=links",
        "--preserve=links -L",
        "--preserve=links -H",
        "--preserve=links -P",
        "-aL",
        "-aH",
        "--no-preserve=links",
        "-a --no-preserve=links",
    ] {
        let linked = "ln dir/x dir/x2; ln dir/x dir/sub/x3; ln b dir/bravo";
        let cases = table.replace("WORD", words).replace("LINKED", linked);
        assert_same_as_cp(&cases, ComparisonOptions::ANY_ORDER.in_memory());
    }
}

#[test]
fn symbolic_links_are_followed_or_not() {
    let table = r#"
        a link, WORD :: $CP WORD link new
        a link into a directory, WORD :: $CP WORD link other
        over a link, WORD :: ln -s b blink :: $CP WORD link blink
        onto itself, WORD :: $CP WORD link link
        onto what it points to, WORD :: $CP WORD link a
        from what points to it, WORD :: $CP WORD a link
        a dangling link, WORD :: $CP WORD dangling new
        a dangling link over a file, WORD :: $CP WORD dangling b
        a dangling link over a dangling link, WORD :: ln -s no d2 :: $CP WORD dangling d2
        a loop, WORD :: ln -s loop loop :: $CP WORD loop new
        a link to a directory, WORD :: $CP WORD dlink new
        a link to a directory with a slash, WORD :: $CP WORD dlink/ new
        the contents of a link to a directory, WORD :: $CP WORD dlink/. new
        through a link to a directory, WORD :: $CP WORD dlink/x new
        a tree, WORD :: $CP WORD dir new
        a tree with a link to a file elsewhere, WORD :: ln -s ../a dir/out :: $CP WORD dir new
        a tree with a link to its parent, WORD :: ln -s .. dir/sub/up :: $CP WORD dir new
        a tree with a link to itself, WORD :: ln -s . dir/sub/self :: $CP WORD dir new
        a tree with a link above it, WORD :: mkdir -p top/one/two; ln -s ../.. top/one/two/up :: $CP WORD top/one new
        a tree with two links to one directory, WORD :: ln -s sub dir/sublink2 :: $CP WORD dir new
        a tree with a loop, WORD :: ln -s loop dir/loop :: $CP WORD dir new
        links over files, WORD :: mkdir other/dir; printf f > other/dir/rel :: $CP WORD dir other
        links over links, WORD :: mkdir other/dir; ln -s elsewhere other/dir/rel :: $CP WORD dir other
        files over links, WORD :: mkdir other/dir; ln -s y other/dir/x; printf y > other/dir/y :: $CP WORD dir other
        files over dangling links, WORD :: mkdir other/dir; ln -s nowhere other/dir/x :: $CP WORD dir other
        links over directories, WORD :: mkdir -p other/dir/rel :: $CP WORD dir other
        directories over links, WORD :: mkdir -p other/dir; ln -s ../.. other/dir/sub :: $CP WORD dir other
        several links of one name, WORD :: mkdir l; ln -s ../b l/link :: $CP WORD link l/link other
    "#;
    let words = [
        "", "-P", "-d", "-R", "-RP", "-RH", "-RL", "-a", "-aH", "-aL", "-RLP", "-H", "-L", "-dL",
        "-Ld",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

#[test]
fn dangling_destinations() {
    let table = r#"
        a file, WORD :: $CP WORD a dangling
        a file, WORD, POSIXLY_CORRECT :: POSIXLY_CORRECT=1 $CP WORD a dangling
        a file, WORD, POSIXLY_CORRECT, its directory is missing :: ln -s nodir/new d2 :: POSIXLY_CORRECT=1 $CP WORD a d2
        WORD, in a directory :: ln -s nowhere other/a :: $CP WORD a other
        WORD, in a directory, POSIXLY_CORRECT :: ln -s nowhere other/a :: POSIXLY_CORRECT=1 $CP WORD a other
        WORD, a slash behind :: $CP WORD a dangling/
        WORD, as a directory :: $CP WORD -t dangling a
        WORD, a tree :: $CP WORD -R dir dangling
        WORD, a tree, no directory :: $CP WORD -RT dir dangling
        WORD, a tree, POSIXLY_CORRECT :: POSIXLY_CORRECT=1 $CP WORD -R dir dangling
        WORD, a loop :: ln -s loop loop :: $CP WORD a loop
        WORD, a loop, POSIXLY_CORRECT :: ln -s loop loop :: POSIXLY_CORRECT=1 $CP WORD a loop
        WORD, a link :: $CP WORD -P link dangling
        WORD, in a tree :: mkdir other/dir; ln -s nowhere other/dir/x :: $CP WORD -R dir other
        WORD, in a tree, POSIXLY_CORRECT :: mkdir other/dir; ln -s nowhere other/dir/x :: POSIXLY_CORRECT=1 $CP WORD -R dir other
    "#;
    let words = [
        "",
        "-f",
        "-n",
        "-b",
        "-u",
        "--remove-destination",
        "-l",
        "-s",
        "-fs",
        "-p",
        "--attributes-only",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

#[test]
fn a_link_to_a_directory_as_destination() {
    let table = r#"
        a file, WORD :: $CP WORD a dlink
        a file with a slash, WORD :: $CP WORD a dlink/
        a file, exactly, WORD :: $CP WORD -T a dlink
        a file over the link in a directory, WORD :: ln -s ../dir other/a :: $CP WORD a other
        a tree, WORD :: $CP WORD -R other dlink
        a tree with a slash, WORD :: $CP WORD -R other/ dlink/
        a tree, exactly, WORD :: $CP WORD -RT other dlink
        a tree, exactly, with a slash, WORD :: $CP WORD -RT other dlink/
        a tree, exactly, to a link to another one, WORD :: mkdir o2; ln -s o2 olink; printf z > other/z :: $CP WORD -RT other olink
        a tree over the link in a directory, WORD :: ln -s ../dir/sub other/dir :: $CP WORD -R dir other
        a tree over a link to an empty one, WORD :: mkdir e; ln -s ../e other/dir :: $CP WORD -R dir other
        a tree over a link inside, WORD :: mkdir -p other/dir e; ln -s ../../e other/dir/sub :: $CP WORD -R dir other
        the link onto its directory, WORD :: $CP WORD -RT dlink dir
        a directory onto a link to it, WORD :: $CP WORD -RT dir dlink
        a link over the link, WORD :: $CP WORD -RPT link dlink
        into it with -t, WORD :: $CP WORD -t dlink a
        with -t and a slash, WORD :: $CP WORD -t dlink/ a
    "#;
    let words = [
        "",
        "-f",
        "-n",
        "-b",
        "-u",
        "--remove-destination",
        "-d",
        "-L",
        "-l",
        "-s",
        "-p",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
}

/// Names that end in what is no name.
#[test]
fn slashes_and_dots() {
    let table = r#"
        a file, WORD :: $CP WORD a/ new
        a directory, WORD :: $CP WORD dir/ new
        a directory to an existing one, WORD :: $CP WORD dir/ other
        many slashes, WORD :: $CP WORD dir/// other///
        a link to a file, WORD :: $CP WORD link/ new
        a link to a directory, WORD :: $CP WORD dlink/ new
        a link to a directory into a directory, WORD :: $CP WORD dlink/ other
        a dangling link, WORD :: $CP WORD dangling/ new
        a new directory, WORD :: $CP WORD dir new/
        a new file, WORD :: $CP WORD a new/
        a file into a file, WORD :: $CP WORD a b/
        dot, WORD :: $CP WORD . other
        dot with a slash, WORD :: $CP WORD ./ other
        dir and dot, WORD :: $CP WORD dir/. other
        dir, slash, dot, slash, WORD :: $CP WORD dir/./ other
        dir and dot-dot, WORD :: mkdir -p top/in; printf 1 > top/1 :: $CP WORD top/in/.. other
        dot-dot, WORD :: mkdir top; cd top; $CP WORD ../dir/.. ../other
        dot to a new name, WORD :: cd dir; $CP WORD . ../new
        dot-dot as destination, WORD :: cd other; $CP WORD ../dir/x ..
        dot as destination, WORD :: cd other; $CP WORD ../dir .
        dot-dot of a directory as destination, WORD :: $CP WORD dir/x other/..
        the root without a name, WORD :: $CP / WORD_LESS
        two spellings, WORD :: $CP WORD dir ./dir/ other
        a file as a directory, WORD :: $CP WORD a/. new
        a file and dot-dot, WORD :: $CP WORD a/../b new
        a missing name with a slash, WORD :: $CP WORD no/ new
        into a missing one with dot, WORD :: $CP WORD dir new/.
        with -t, WORD :: $CP WORD -t other/ dir/ a/
        exactly, WORD :: $CP WORD -T dir/ other/
        exactly, dots, WORD :: $CP WORD -T dir/. other/.
    "#;
    let table = table.replace("$CP / WORD_LESS", "$CP / new");
    let words = [
        "",
        "-R",
        "-R --strip-trailing-slashes",
        "--strip-trailing-slashes",
        "-a",
        "-RL",
        "-RH",
        "-Rl",
        "-Rb",
        "-Rv",
    ];
    assert_each_same_as_cp(
        &table,
        &words,
        ComparisonOptions::ANY_COPIED_AMOUNT.in_memory(),
    );
}

#[test]
fn links_instead_of_copies() {
    let table = r#"
        a file, WORD :: $CP WORD a new
        told, WORD :: $CP WORD -v a new
        over a file, WORD :: $CP WORD a b
        over a file, told, WORD :: $CP WORD -v a b
        over a file with -f, WORD :: $CP WORD -f a b
        over a file with -i, WORD :: echo y | $CP WORD -i a b
        over a file with -n, WORD :: $CP WORD -n a b
        over a file with -u, WORD :: $CP WORD -u a b
        over a file with a backup, WORD :: $CP WORD -b a b
        over a file with a numbered backup, WORD :: $CP WORD --backup=t -v a b
        over a file, removed first, WORD :: $CP WORD --remove-destination a b
        over a link, WORD :: $CP WORD b link
        over a link with -f, WORD :: $CP WORD -f b link
        over a link, removed first, WORD :: $CP WORD --remove-destination b link
        over a dangling link, WORD :: $CP WORD a dangling
        over a dangling link with -f, WORD :: $CP WORD -f a dangling
        over a directory, WORD :: $CP WORD -T a other
        over a directory with -f, WORD :: $CP WORD -fT a other
        over itself, WORD :: $CP WORD a a
        over itself with -f, WORD :: $CP WORD -f a a
        over itself with -b, WORD :: $CP WORD -b a a
        over itself, forced and backed up, WORD :: $CP WORD -fb a a
        over a hard link of it, WORD :: $CP WORD a hard
        over a hard link of it with -f, WORD :: $CP WORD -f a hard
        over a hard link of it with -b, WORD :: $CP WORD -b a hard
        over a hard link of it with -v, WORD :: $CP WORD -v a hard
        over a hard link of it, removed first, WORD :: $CP WORD --remove-destination a hard
        over a link to it, WORD :: $CP WORD a link
        over a link to it with -f, WORD :: $CP WORD -f a link
        a link, WORD :: $CP WORD link new
        a link with -P, WORD :: $CP WORD -P link new
        a link with -d, WORD :: $CP WORD -d link new
        a link with -L, WORD :: $CP WORD -L link new
        a link with -H, WORD :: $CP WORD -H link new
        a link with -R, WORD :: $CP WORD -R link new
        a dangling link, WORD :: $CP WORD dangling new
        a dangling link with -P, WORD :: $CP WORD -P dangling new
        a link to a directory, WORD :: $CP WORD dlink new
        a link to a directory with -R, WORD :: $CP WORD -R dlink new
        a link to a directory with -RP, WORD :: $CP WORD -RP dlink new
        into a directory, WORD :: $CP WORD a other
        into a directory by an absolute name, WORD :: d=$PWD; cd other; $CP WORD ../a .
        from the current directory into it, WORD :: cd other; $CP WORD ../a ../b .
        several, WORD :: $CP WORD a b other
        several, one missing, WORD :: $CP WORD a no b other
        twice, WORD :: $CP WORD a a other
        two of one name, WORD :: $CP WORD dir/x ./dir/x other
        a directory, WORD :: $CP WORD dir new
        a tree, WORD :: $CP WORD -R dir new
        a tree, told, WORD :: $CP WORD -Rv dir new
        a tree with -P, WORD :: $CP WORD -RP dir new
        a tree with -a, WORD :: $CP WORD -a dir new
        a tree over a tree, WORD :: cp -a dir other :: $CP WORD -R dir other
        a tree over a tree with -f, WORD :: cp -a dir other :: $CP WORD -Rf dir other
        a tree over a linked tree, WORD :: cp -al dir other :: $CP WORD -R dir other
        a tree onto itself, WORD :: $CP WORD -RT dir dir
        a tree here, WORD :: cd other; $CP WORD -R ../dir .
        with its parents, WORD :: $CP WORD --parents dir/x other
        attributes only, WORD :: $CP WORD --attributes-only a new
        attributes too, WORD :: $CP WORD -p a new
        attributes too, over, WORD :: chmod 600 a :: $CP WORD -p a b
        a socket, WORD :: $CP WORD sock new
        a FIFO, WORD :: mkfifo fifo :: $CP WORD fifo new
        a FIFO with -R, WORD :: mkfifo fifo :: $CP WORD -R fifo new
        a device, WORD :: mknod null c 1 3 :: $CP WORD null new
        to another file system, WORD :: $CP WORD /proc/version new
        to a missing directory, WORD :: $CP WORD a no/new
        the other one, too, WORD :: $CP WORD -l -s a new
        reflinks, WORD :: $CP WORD --reflink=always a new
        sparse, WORD :: $CP WORD --sparse=always a new
    "#;
    let words = ["-l", "-s"];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER.in_memory());
    let cases = r#"
        -s of an absolute name :: $CP -s "$PWD/a" other; readlink other/a | sed "s|$PWD|PWD|"; rm other/a
        -s of a tree by an absolute name :: $CP -Rs "$PWD/dir" new; find new -type l -printf '%l\n' | sed "s|$PWD|PWD|" | sort; rm -r new
        -s of a tree by an absolute name, told :: $CP -Rsv "$PWD/dir" new | sed "s|$PWD|PWD|"; rm -r new
        -l -s :: $CP -ls a new
        -l to another file system :: $CP -l a /proc/new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn links_instead_of_copies_without_permission() {
    let table = r#"
        a file, WORD :: chmod 777 other :: $CP WORD a other
        into a directory that is not writable, WORD :: $CP WORD a other
        a tree, WORD :: chmod 777 other :: $CP WORD -R dir other
        over a file, WORD :: chmod 777 other; printf o > other/a :: $CP WORD -f a other
        over a file in a directory that is not writable, WORD :: printf o > other/a :: $CP WORD -f a other
        told, WORD :: chmod 777 other :: $CP WORD -v a b other
    "#;
    let words = ["-l", "-s"];
    assert_each_same_as_cp(table, &words, ComparisonOptions::NOBODY_ANY_ORDER);
}
