//! --backup beside `/bin/cp`: which name the old file gets, of what type it may be, and when it gets its own name back.
//!
//! cp 9.1 puts a simple backup of `d/f` into the current directory, as `f~`, when it copies into a directory `d` (fixed in 9.2,
//! and right here): such cases run with -T or in the directory itself.

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};

/// Every word of CONTROL, on a file that has no backup, a simple one, or a numbered one.
#[test]
fn every_style_names_as_cp_does() {
    let words = [
        "none", "off", "simple", "never", "existing", "nil", "numbered", "t",
    ];
    let begun = ["no", "of", "s", "si", "nev", "e", "ex", "ni", "nu"];
    let before = [
        ("nothing", ":"),
        ("a simple one", "printf old > b~"),
        ("a numbered one", "printf old > b.~1~"),
        ("both", "printf old > b~; printf older > 'b.~7~'"),
        (
            "a gap",
            "printf old > b.~2~; printf old > b.~10~; printf old > b.~011~",
        ),
    ];
    let mut table = String::new();
    for (there, prepare) in before {
        for word in words.iter().chain(&begun) {
            table += &format!("{word} after {there} :: {prepare} :: $CP -v --backup={word} a b\n");
        }
        table += &format!("-b after {there} :: {prepare} :: $CP -vb a b\n");
        table += &format!("--backup after {there} :: {prepare} :: $CP -v --backup a b\n");
    }
    assert_same_as_cp(&table, ComparisonOptions::PLAIN);
}

#[test]
fn invalid_backup_types() {
    let cases = r#"
        an unknown style :: $CP --backup=foo a b
        an empty style :: $CP --backup= a b
        an ambiguous style :: $CP --backup=n a b
        a style with -b :: $CP -bsimple a b
        -b in a bundle :: $CP -vbf a b
        the last counts :: $CP --backup=numbered --backup=simple a b
        -b keeps what was said :: $CP --backup=numbered -b a b
        --backup without a word after one :: $CP --backup=numbered --backup a b
        backup and -n :: $CP -b -n a b
        -n before :: $CP -n -b a b
        backup and --attributes-only :: $CP -b --attributes-only a b
        none and -n :: $CP --backup=none -n a b
        suffix and -n :: $CP -S x -n a b
        backup and -l and -s :: $CP -b -l -s a b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn suffixes_and_environment() {
    let cases = r#"
        -S implies a backup :: $CP -v -S .bak a b
        --suffix :: $CP -v --suffix=.bak a b
        --suf begun :: $CP -v --suf .bak a b
        -S joined :: $CP -v -S.bak a b
        -S twice :: $CP -v -S .one -S .two a b
        -S with numbered :: $CP -v -S .bak --backup=numbered a b
        -S with none :: $CP -v -S .bak --backup=none a b
        -S empty :: $CP -v -S '' a b
        -S with a slash :: $CP -v -S x/y a b
        -S of spaces and quotes :: $CP -v -S " '" a b
        -S without an argument :: $CP a b -S
        -S very long :: $CP -v -S $(printf %0300d 0) a b
        SIMPLE_BACKUP_SUFFIX alone :: SIMPLE_BACKUP_SUFFIX=.env $CP -v a b
        SIMPLE_BACKUP_SUFFIX with -b :: SIMPLE_BACKUP_SUFFIX=.env $CP -vb a b
        SIMPLE_BACKUP_SUFFIX and -S :: SIMPLE_BACKUP_SUFFIX=.env $CP -v -S .bak a b
        SIMPLE_BACKUP_SUFFIX empty :: SIMPLE_BACKUP_SUFFIX= $CP -vb a b
        SIMPLE_BACKUP_SUFFIX with a slash :: SIMPLE_BACKUP_SUFFIX=/env $CP -vb a b
        VERSION_CONTROL alone :: VERSION_CONTROL=numbered $CP -v a b
        VERSION_CONTROL with -b :: VERSION_CONTROL=numbered $CP -vb a b
        VERSION_CONTROL with --backup :: VERSION_CONTROL=t $CP -v --backup a b
        VERSION_CONTROL with -S :: VERSION_CONTROL=numbered $CP -v -S x a b
        VERSION_CONTROL none :: VERSION_CONTROL=off $CP -vb a b
        VERSION_CONTROL begun :: VERSION_CONTROL=nu $CP -vb a b
        VERSION_CONTROL empty :: VERSION_CONTROL= $CP -vb a b
        VERSION_CONTROL unknown :: VERSION_CONTROL=foo $CP -vb a b
        VERSION_CONTROL ambiguous :: VERSION_CONTROL=n $CP -vb a b
        VERSION_CONTROL unknown, not asked :: VERSION_CONTROL=foo $CP -v a b
        VERSION_CONTROL and a word :: VERSION_CONTROL=numbered $CP -v --backup=simple a b
        VERSION_CONTROL unknown and a word :: VERSION_CONTROL=foo $CP -v --backup=simple a b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

/// What is renamed, and what takes its place.
#[test]
fn backups_of_every_file_type() {
    let cases = r#"
        nothing there :: $CP -vb a new
        a link is renamed, not followed :: ln -s b blink :: $CP -vb a blink
        a dangling link :: $CP -vb a dangling
        a loop :: ln -s loop loop :: $CP -vb a loop
        a FIFO :: mkfifo pipe :: $CP -vb a pipe
        a socket :: $CP -vb a sock
        a directory :: $CP -vbT a other
        a link to a directory :: $CP -vbT a dlink
        of a hard link :: $CP -vb b hard
        a link to a link :: ln -s b blink :: $CP -vbP link blink
        a link to a file :: $CP -vbP link b
        a file to a directory with that name :: mkdir other/a :: $CP -vb a other
        a FIFO to a file :: mkfifo pipe :: $CP -vbR pipe b
        a socket to a file :: $CP -vbR sock b
        a backup that is a directory :: mkdir b~ :: $CP -vb a b
        a backup that is a link :: ln -s a b~ :: $CP -vb a b
        a backup that is a FIFO :: mkfifo b~ :: $CP -vb a b
        a missing source :: $CP -vb nofile b
        a directory as source :: $CP -vb dir b
        an empty file :: $CP -vb empty b
        a trailing slash :: $CP -vb a b/
        a name with spaces :: printf o > 'b b' :: $CP -vb a 'b b'
        in the target directory :: printf o > other/a :: cd other && $CP -vb --backup=simple ../a .
        existing, in a directory :: printf o > other/a :: $CP -vb a other
        numbered, in a directory :: printf o > other/a :: $CP -v --backup=t a other
        numbered, -t :: printf o > other/a :: $CP -v --backup=t -t other a b
        --parents :: mkdir other/dir; printf o > other/dir/x :: $CP -vb --parents dir/x other
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn backups_in_trees() {
    let cases = r#"
        -r :: cp -r dir new :: $CP -rbT dir new
        -r simple :: cp -r dir new :: $CP -rT --backup=simple dir new
        -r numbered :: cp -r dir new :: $CP -rT --backup=t dir new
        -r numbered, twice :: cp -r dir new; cp -rT --backup=t dir new :: $CP -rT --backup=t dir new
        -r into a directory :: cp -r dir other :: $CP -r --backup=existing dir other
        -a :: cp -a dir new :: $CP -abT dir new
        -a -v :: cp -a dir new :: $CP -abvT dir new
        -a numbered -v :: cp -a dir new :: $CP -avT --backup=t dir new
        -d on links :: ln -s a l2 :: $CP -db link l2
        -rL :: cp -r dir new; rm dir/sub/dangling new/sub/dangling :: $CP -rLbT dir new
        a directory over a link :: mkdir new; ln -s . new/sub :: $CP -rbT dir new
        a directory over a file :: mkdir new; printf o > new/sub :: $CP -rbT dir new
        a file over a directory :: mkdir -p new/x :: $CP -rbT dir new
        special files :: mkfifo dir/p; cp -a dir new; rm new/p; printf o > new/p :: $CP -abT dir new
        hard links :: ln dir/x dir/x2; cp -a dir new :: $CP -abT dir new
        links and numbered :: ln dir/x dir/x2; cp -a dir new :: $CP -aT --backup=t dir new
        one file beside its own backup :: printf o > dir/x~; cp -r dir new :: $CP -rT --backup=t dir new
        two trees in one :: mkdir -p p/dir q/dir; printf 1 > p/dir/f; printf 2 > q/dir/f :: $CP -r --backup=t p/dir q/dir other
        two files of one name :: mkdir p q; printf 1 > p/f; printf 2 > q/f :: $CP -v --backup=t p/f q/f other
        two files of one name, existing :: mkdir p q; printf 1 > p/f; printf 2 > q/f :: $CP -v --backup=existing p/f q/f other
        three of one name :: mkdir p q; printf 1 > p/a; printf 2 > q/a; printf 3 > other/a :: $CP -v --backup=t a p/a q/a other
        the same file twice :: $CP -v --backup=t a a other
        the same file twice, there :: printf o > other/a :: $CP -v --backup=t a ./a other
        a tree onto itself :: $CP -rbT dir dir
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
    assert_same_as_cp(
        "a tree into itself :: $CP -rb dir dir",
        ComparisonOptions::ANY_COPIED_AMOUNT,
    );
}

#[test]
fn backups_with_other_options() {
    let cases = r#"
        -u, older there :: touch -d 2001-01-01 b; touch -d 2002-02-02 a :: $CP -vbu a b
        -u, newer there :: touch -d 2002-02-02 b; touch -d 2001-01-01 a :: $CP -vbu a b
        -u, equal :: touch -d 2001-01-01 a b :: $CP -vbu a b
        -i, yes :: echo y | $CP -vbi a b
        -i, no :: echo n | $CP -vbi a b
        -i, nothing :: $CP -vbi a b < /dev/null
        -i, two :: printf o > other/a; printf o > other/b :: printf 'n\ny\n' | $CP -vi --backup=t a b other 2>&1 | sed 's/? /?\n/g' >&2
        -f :: $CP -vbf a b
        -f onto itself :: $CP -vbf a a
        -f onto itself, numbered :: $CP -vf --backup=t a a
        -f onto itself, there is one :: printf o > a.~3~ :: $CP -vf --backup a a
        -f onto itself, -S :: $CP -vf -S .bak a a
        -f onto itself by another path :: $CP -vbf a ./a
        -f onto itself in a directory :: $CP -vbf dir/x dir
        -f onto itself, -p :: $CP -vbfp a a
        -f onto a hard link :: $CP -vbf a hard
        -f through a link to itself :: $CP -vbf a link
        -f from a link to its file :: $CP -vbf link a
        -f -d a link onto itself :: $CP -vbfd link link
        -f -r a directory onto itself :: $CP -vbfrT dir dir
        -f -l onto itself :: $CP -vbfl a a
        -f -s onto itself :: $CP -vbfs a a
        -b onto itself :: $CP -vb a a
        -b onto a hard link :: $CP -vb a hard
        -b through a link to itself :: $CP -vb a link
        -b from a link to its file :: $CP -vb link a
        -b -P from a link to its file :: $CP -vbP link a
        -b -d a link onto itself :: $CP -vbd link link
        -b -l onto a hard link :: $CP -vbl a hard
        -b -l onto another :: $CP -vbl a b
        -b -s onto another :: $CP -vbs a b
        -b -s onto a link :: $CP -vbs a link
        -b -l onto a link :: $CP -vbl a link
        -b --remove-destination :: $CP -vb --remove-destination a b
        -b --remove-destination onto itself :: $CP -vb --remove-destination a a
        -b -p :: chmod 640 a :: $CP -vbp a b
        -b keeps nothing of the old mode :: chmod 755 b; chmod 600 a :: $CP -vb a b
        -b --sparse=always :: $CP -vb --sparse=always a b
        source is the backup :: printf o > b~ :: $CP -vb --backup=simple b~ b
        source is the backup, existing :: printf o > b~ :: $CP -v --backup=existing b~ b
        source is the backup, numbered :: printf o > b~ :: $CP -v --backup=t b~ b
        source is a numbered backup :: printf o > b.~1~ :: $CP -v --backup b.~1~ b
        source is the backup, by a link :: ln -s a b~ :: $CP -v --backup=simple b~ b
        source is the backup, with -S :: printf o > b.bak :: $CP -v -S .bak b.bak b
        source is the backup, by ./ :: printf o > b~ :: $CP -v --backup=simple ./b~ b
        source is a link of the backup :: printf o > b~; ln b~ c :: $CP -v --backup=simple c b
        source is the backup, elsewhere :: printf o > other/b~; printf o > other/b :: $CP -v --backup=simple -T other/b~ other/b
        source of the backup's name, another file :: printf o > other/b~ :: $CP -v --backup=simple other/b~ b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

/// A copy that fails gives what was there its name back, and says so with -v.
#[test]
fn failures_undo_the_backup() {
    let cases = r#"
        an unreadable source :: chmod 600 a; chmod 666 b :: $CP -vb a b
        unreadable, numbered :: chmod 600 a :: $CP -v --backup=t a b
        unreadable, silent :: chmod 600 a :: $CP -b a b
        unreadable, over a link :: chmod 600 a; ln -s b blink :: $CP -vb a blink
        unreadable, over an older backup :: chmod 600 a; printf o > b~ :: $CP -vb --backup=simple a b
        unreadable, nothing there :: chmod 600 a :: $CP -vb a new
        one of two :: chmod 600 a; chmod 777 other; printf o > other/a; printf o > other/b :: $CP -v --backup=t a b other
        a directory that may not be written :: printf o > other/a; chmod 755 other :: $CP -vb a other
        in a tree :: cp -r dir new; chmod -R a+rwX new; chmod 600 dir/x :: $CP -rbT dir new
        in a tree, -v :: cp -r dir new; chmod -R a+rwX new; chmod 600 dir/x :: $CP -rbvT dir new
        in a tree, -a :: cp -r dir new; chmod -R a+rwX new; chmod 600 dir/x :: $CP -rT --backup=t --preserve=links dir new
        a sticky directory :: chmod 1777 other; printf o > other/a :: $CP -vb a other
        -f :: chmod 600 a :: $CP -vbf a b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::NOBODY_ANY_ORDER);
    let cases = r#"
        a link that cannot be made :: $CP -vbl a /proc/self/comm b
        a socket, not recursive :: $CP -vb sock b
        --reflink=always on other devices :: $CP -vb --reflink=always /proc/self/comm b
        a relative -s elsewhere :: printf o > other/a :: $CP -vs --backup=t -T a other/a
        -l across devices :: $CP -vbl /proc/version b
        reading fails :: $CP -vb /proc/self/mem b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}
