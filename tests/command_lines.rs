//! cp's words: everyday copies and every bad input, each beside `/bin/cp` in an equal tree. A line is a case: its name, how its
//! tree differs from the standard one (may be left out), and the command, between ` :: ` (see `beside_cp`).

use std::process::Command;

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

#[test]
fn everyday_copies() {
    let cases = r#"
        a new file :: $CP a new
        an existing file :: $CP b a
        a longer file is cut :: printf longer-than-alpha > b :: $CP a b
        an empty file :: $CP empty new
        empty over full :: $CP empty a
        into a directory :: $CP a other
        into a directory with a slash :: $CP a other/
        several into a directory :: $CP a b empty other
        several, one missing :: $CP a nofile b other
        through a symlink source :: $CP link new
        over a symlink destination :: ln -s b blink :: $CP a blink
        through a directory link :: $CP b dlink
        two names of one file :: $CP a hard other
        twice the same argument :: $CP a a other
        two sources, one name :: $CP a dir/x ./dir/x other
        through a symlink just made :: mkdir l t; ln -s ../a l/x; printf 2 > t/x :: $CP -r l/x t/x other
        two sources, one name, different files :: mkdir two; printf 2 > two/x :: $CP dir/x two/x other
        absolute-looking dots :: $CP ./dir/../a ./other/../new
        a name of one dash :: printf d > ./- :: $CP - new
        to a name of one dash :: $CP a -
        double dash :: printf d > ./-a :: $CP -- -a new
        options after operands :: $CP a new -v
        options between operands :: $CP a -v new
        double dash makes options names :: $CP -- a -v
        verbose :: $CP -v a new
        verbose, several :: $CP -v a b other
        verbose, one fails :: $CP -v a nofile b other
        verbose twice :: $CP -v --verbose -v a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn target_directory_options() {
    let cases = r#"
        -t :: $CP -t other a b
        -t joined :: $CP -tother a
        -t last :: $CP a b -t other
        -t in a bundle :: $CP -vt other a
        long form :: $CP --target-directory other a
        long form joined :: $CP --target-directory=other a
        -t through a link :: $CP -t dlink a
        -t missing :: $CP -t nodir a
        -t a file :: $CP -t b a
        -t a dangling link :: $CP -t dangling a
        -t without sources :: $CP -t other
        -t without an argument :: $CP a b -t
        -t empty :: $CP -t '' a
        -t twice :: $CP -t other -t dir a
        -t and -T :: $CP -T -t other a
        -T file to file :: $CP -T a new
        -T onto a directory :: $CP -T a other
        -T directory onto a directory :: $CP -rT dir other
        -T directory to a new name :: $CP -rT dir new
        -T directory onto a file :: $CP -rT dir a
        -T three operands :: $CP -T a b c
        -T one operand :: $CP -T a
        -T long :: $CP --no-target-directory a new
        -T over a link to a directory :: $CP -T a dlink
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn invalid_options() {
    let cases = r#"
        no operand :: $CP
        no operand but options :: $CP -v
        one operand :: $CP a
        unknown long option :: $CP --foo a new
        unknown long option with a value :: $CP --foo=bar a new
        unknown short option :: $CP -y a new
        unknown short option in a bundle :: $CP -vy a new
        unknown option after operands :: $CP a new -y
        sparse with a wrong word :: $CP --sparse=bogus a new
        sparse with an empty word :: $CP --sparse= a new
        sparse without a word :: $CP a new --sparse
        a flag with a value :: $CP --recursive=yes dir new
        an ambiguous abbreviation :: $CP --ver a new
        empty source :: $CP '' new
        empty destination :: $CP a ''
        both empty :: $CP '' ''
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn abbreviated_and_repeated_options() {
    let cases = r#"
        --recurs :: $CP --recurs dir new
        --verb :: $CP --verb a new
        --no-c :: $CP --no-c a b
        --target=DIR :: $CP --target=other a
        --sparse=alw :: $CP --sparse=alw a new
        --sparse NEVER :: $CP --sparse never a new
        sparse, the last counts :: $CP --sparse=never --sparse=auto a new
        -r -R --recursive :: $CP -r -R --recursive dir new
        -f -f :: $CP -ff a new
        -p -p :: $CP -p -p a new
        -rpv :: $CP -rpv empty new
        -fn :: $CP -fn a b
        -nf :: $CP -nf a b
        -T -T :: $CP -T -T a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn abbreviations_are_those_of_cp() {
    let cases = r#"
        one letter is enough :: $CP --f a b
        with an argument :: $CP --t=other a
        an argument as the next word :: $CP --tar other a
        of two names of one meaning :: $CP --pa a new
        of the old name :: $CP --path a new
        of the old name, begun :: $CP --pat a new
        d is ambiguous since 9.2 :: $CP --d link new
        de is ambiguous since 9.2 :: $CP --de link new
        der is dereference :: $CP --der link new
        at is attributes-only :: $CP --at=x a new
        r :: $CP --r a new
        re :: $CP --re a new
        rem :: $CP --rem=x a new
        p :: $CP --p a new
        pr :: $CP --pr=x a new
        s :: $CP --s a new
        su :: $CP --su
        n :: $CP --n a new
        no :: $CP --no=x a new
        no- :: $CP --no- a new
        no-p :: $CP --no-p
        a :: $CP --a a new
        b :: $CP --b=x a new
        c :: $CP --c a new
        con :: $CP --con=x --foo
        h with a value :: $CP --h=x
        v :: $CP --v a new
        vers with a value :: $CP --vers=1
        nothing but a value :: $CP --=x a new
        dashes in front :: $CP ---a a new
        too long :: $CP --recursively dir new
        other case :: $CP --Recursive dir new
        not to the end :: $CP --recursiv dir new
        bytes :: $CP "--$(printf 'f\377')" a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn short_options() {
    let cases = r#"
        unknown :: $CP -q a new
        h :: $CP -h
        V :: $CP -V
        a dash in a bundle :: $CP -v- a new
        a letter that is no letter :: $CP "-$(printf '\377')" a new
        more bytes than one :: $CP -é a new
        the first unknown one counts :: $CP -vqy a new
        t without an argument :: $CP a -t
        S without an argument :: $CP a new -S
        t takes what is behind it :: $CP -tv a
        t takes an option for its argument :: $CP -t -v a
        b takes nothing :: $CP -bnone a new
        u takes nothing :: $CP -unone a new
        Z takes nothing :: $CP -Zq a new
        upper and lower case differ :: $CP -F a new
        digits :: $CP -1 a new
        equals :: $CP -v=x a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn the_first_mistake_counts() {
    let cases = r#"
        unknown before help :: $CP --foo --help
        value before unknown :: $CP --sparse=x --foo
        unknown before value :: $CP --foo --sparse=x
        two targets before unknown :: $CP -t other -t dir --foo
        unknown before two targets :: $CP --foo -t other -t dir
        words before contradictions :: $CP -ls --foo a new
        words before operands :: $CP --foo
        contradictions before operands :: $CP -ls
        links before backups :: $CP -lsbn a new
        backups before reflink :: $CP -bn --reflink=always --sparse=never a new
        reflink before the type of backup :: $CP --backup=x --reflink --sparse=always a new
        the type of backup before operands :: $CP --backup=x
        the type of backup before the context :: $CP --backup=x --preserve=context a new
        the context before operands :: $CP --preserve=context
        missing operand before -t with -T :: $CP -T -t other
        -t with -T before the directory :: $CP -T -t nodir a
        extra operand before the directory :: $CP -T a b nodir
        a warning before a mistake :: $CP --context=x --foo
        two warnings :: $CP --context=x --context=y a new
        one mistake of two in a bundle :: $CP -vyq a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn contradicting_options() {
    let cases = r#"
        hard and symbolic :: $CP -l -s a new
        hard and symbolic, long :: $CP --link --symbolic-link a new
        backup and no-clobber :: $CP -b -n a b
        no-clobber and backup :: $CP -n --backup=t a b
        suffix and no-clobber :: $CP -S .x -n a b
        no backup and no-clobber :: $CP --backup=none -n a b
        reflink always and sparse :: $CP --reflink=always --sparse=always a new
        reflink and no sparse :: $CP --reflink --sparse=never a new
        reflink, the last counts :: $CP --reflink=always --reflink=never --sparse=never a new
        sparse, the last counts :: $CP --sparse=always --reflink=never --sparse=auto a new
        parents to a file :: $CP --parents a b
        parents to nothing :: $CP --parents a new
        parents and -T :: $CP --parents -T a other
        parents, several, to a file :: $CP --parents a b empty
        parents into a missing directory :: $CP --parents -t nodir a
        preserved context :: $CP --preserve=context a new
        preserved context, given up :: $CP --preserve=context --no-preserve=context a new
        a context :: $CP --context=x a new
        the default context :: $CP -Z a new
        the default context, long :: $CP --context a new
        an empty context :: $CP --context= a new
        a context that is no argument :: $CP --context a b empty
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn option_values() {
    let cases = r#"
        sparse, several :: $CP --sparse=a a new
        sparse, no beginning :: $CP --sparse=xalways a new
        sparse, too long :: $CP --sparse=always1 a new
        sparse, other case :: $CP --sparse=Never a new
        sparse, a quote :: $CP --sparse="i't" a new
        sparse, bytes :: $CP --sparse="$(printf 'x\377\n\001y')" a new
        sparse, in another tongue :: LC_ALL=C.UTF-8 $CP --sparse="i't é" a new
        reflink, several :: $CP --reflink=a a new
        reflink, wrong :: $CP --reflink=x a new
        reflink, empty :: $CP --reflink= a new
        reflink takes no next word :: $CP --reflink never a new
        preserve, wrong :: $CP --preserve=x a new
        preserve, one wrong :: $CP --preserve=mode,q a new
        preserve, empty :: $CP --preserve= a new
        preserve, empty at the end :: $CP --preserve=mode, a new
        preserve, empty in front :: $CP --preserve=,mode a new
        preserve, blank :: $CP --preserve='mode, links' a new
        preserve takes no next word :: $CP --preserve mode a new
        preserve, begun :: $CP --preserve=m,t,o a new
        no-preserve, wrong :: $CP --no-preserve=x a new
        no-preserve, empty :: $CP --no-preserve= a new
        no-preserve takes the next word :: $CP --no-preserve m a new
        no-preserve takes an option :: $CP --no-preserve -v a new
        backup, wrong :: $CP --backup=x a new
        backup, several :: $CP --backup=n a new
        backup, begun :: $CP --backup=nu a new
        backup, two words of one meaning :: $CP --backup=o a new
        backup, empty :: $CP --backup= a new
        backup takes no next word :: $CP --backup none a new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn environment_variables() {
    let cases = r#"
        VERSION_CONTROL wrong :: VERSION_CONTROL=x $CP -b a new
        VERSION_CONTROL of several meanings :: VERSION_CONTROL=n $CP -b a new
        VERSION_CONTROL wrong, not asked for :: VERSION_CONTROL=x $CP a new
        VERSION_CONTROL wrong, overruled :: VERSION_CONTROL=x $CP --backup=t a new
        VERSION_CONTROL wrong, not overruled :: VERSION_CONTROL=x $CP --backup= a new
        VERSION_CONTROL wrong, with a suffix :: VERSION_CONTROL=x $CP -S .x a new
        VERSION_CONTROL empty :: VERSION_CONTROL= $CP -b a new
        POSIXLY_CORRECT, option behind an operand :: POSIXLY_CORRECT=1 $CP a -v new
        POSIXLY_CORRECT, empty :: POSIXLY_CORRECT= $CP a -v new
        POSIXLY_CORRECT, options first :: POSIXLY_CORRECT=1 $CP -v a new
        POSIXLY_CORRECT, an unknown option behind :: POSIXLY_CORRECT=1 $CP a -y
        POSIXLY_CORRECT, double dash behind :: POSIXLY_CORRECT=1 $CP a -- new
        POSIXLY_CORRECT, double dash in front :: POSIXLY_CORRECT=1 $CP -- a new
        POSIXLY_CORRECT, argument as next word :: POSIXLY_CORRECT=1 $CP -t other a -v
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn trailing_slashes() {
    let cases = r#"
        stripped into a directory :: $CP --strip-trailing-slashes -v a/ other
        stripped, several slashes :: $CP --strip-trailing-slashes -v a/// b// other
        stripped with -t :: $CP --strip-trailing-slashes -v -t other a/
        not stripped to a file :: $CP --strip-trailing-slashes a/ new
        stripped, a tree :: $CP --strip-trailing-slashes -rv dir/void/ other
        stripped, a link to a directory :: $CP --strip-trailing-slashes -r dlink/ other
        not stripped, a link to a directory :: $CP -r dlink/ other
        stripped, missing :: $CP --strip-trailing-slashes nofile/ other
        stripped, the root :: $CP --strip-trailing-slashes / other
        a directory with slashes :: $CP -v a other//
        the directory itself :: $CP -rv dir/void/. other
        its parent :: mkdir dir/void/in :: cd dir/void/in; $CP -rv .. ../../../other
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

/// What cp says of itself: the name it was called by, as it was called.
#[test]
fn called_by_the_name_cp() {
    let place = scratch(&std::env::temp_dir());
    let ours = place.path().join("cp");
    std::os::unix::fs::symlink(&*MMAPCP, &ours).unwrap();
    let ours = ours.to_str().unwrap();
    for words in [
        "",
        "--foo",
        "-y a b",
        "nofile new",
        "a",
        "--sparse=x",
        "a b c",
        "--context=x",
    ] {
        let run_by = |program: &str| {
            let mut command = Command::new(program);
            command.args(words.split_whitespace()).env("LC_ALL", "C");
            run(command.current_dir(place.path()))
        };
        let (cp, own) = (run_by("/bin/cp"), run_by(ours));
        assert_eq!(cp.status, own.status, "{words}");
        let said = lossy_string(&cp.stderr).replace("/bin/cp", ours);
        assert_eq!(lossy_string(&own.stderr), said, "{words}");
    }
    let by_path = |word: &str| {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("cp {word}")])
            .env("PATH", place.path());
        run(&mut command)
    };
    assert!(lossy_string(&by_path("--help").stdout).contains("Usage: cp [OPTION]"));
    assert!(lossy_string(&by_path("--version").stdout).starts_with("mmapcp "));
    assert!(lossy_string(&by_path("--foo").stderr).starts_with("cp: unrecognized"));
}

#[test]
fn missing_files_and_operands() {
    let cases = r#"
        source :: $CP nofile new
        source, destination exists :: $CP nofile b
        source through a file :: $CP a/x new
        source file with a slash :: $CP a/ new
        dangling source :: $CP dangling new
        a loop of links :: ln -s loop loop :: $CP loop new
        to a loop of links :: ln -s loop loop :: $CP a loop
        directory of the destination :: $CP a nodir/new
        directory named with a slash :: $CP a nodir/
        directory for several :: $CP a b nodir
        destination below a file :: $CP a b/new
        a file with a slash as destination :: $CP a b/
        several onto a file :: $CP a b empty
        several onto a dangling link :: $CP a b dangling
        onto a dangling link :: $CP a dangling
        onto a dangling link with -f :: $CP -f a dangling
        onto a dangling link with -n :: $CP -n a dangling
        a tree onto a dangling link :: $CP -r dir dangling
        with -r :: $CP -r nofile new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn directories_and_files_in_each_others_way() {
    let cases = r#"
        directory without -r :: $CP dir new
        directory without -r, others go on :: $CP dir a other
        link to a directory without -r :: $CP dlink new
        file over directory :: mkdir other/a :: $CP a other
        directory over file :: printf f > other/dir :: $CP -r dir other
        directory onto a file :: $CP -r dir b
        inner file over inner directory :: mkdir -p other/dir/x :: $CP -r dir other
        inner directory over inner file :: mkdir other/dir; printf f > other/dir/sub :: $CP -r dir other
        symlink over directory :: mkdir other/dlink :: $CP -r dlink other
        symlink over file :: printf f > other/link :: $CP -r link other
        directory over a link to a directory :: ln -s ../dir/sub other/dir :: $CP -r dir other
        dot without -r :: $CP . other
        two directories of one name :: mkdir two two/dir; printf 2 > two/dir/z :: $CP -r dir two/dir other
        a directory twice :: $CP -r dir dir other
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn same_file() {
    let cases = r#"
        same name :: $CP a a
        other spelling :: $CP a ./a
        through a directory :: $CP a dir/../a
        through a directory link :: $CP dir/x dlink/x
        into its own directory :: $CP a .
        several into their own directory :: $CP a b .
        hard link :: $CP a hard
        hard link with -f :: $CP -f a hard
        onto a link to it :: $CP a link
        onto a link to it with -f :: $CP -f a link
        from a link to it :: $CP link a
        from a link to it with -r :: $CP -r link a
        from a link to it with -f :: $CP -f link a
        from a link to its hard link :: $CP link hard
        two links to it :: ln -s a link2 :: $CP link link2
        two links to it with -r :: ln -s a link2 :: $CP -r link link2
        a link onto itself :: $CP -r link link
        same name with -n :: $CP -n a a
        same name with -f :: $CP -f a a
        same name with -p :: $CP -p a a
        empty onto itself :: $CP empty empty
        a dangling link onto itself :: $CP -r dangling dangling
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

#[test]
fn directory_into_itself() {
    let cases = r#"
        directory into itself :: $CP -r dir dir
        directory to a new name inside :: $CP -r dir dir/new
        directory into its child :: $CP -r dir dir/sub
        directory over itself :: $CP -rT dir dir
        directory over itself with a slash :: $CP -r dir/. dir
        dot into a child :: $CP -r . other
        through a link to itself :: $CP -r dir dlink
        child into its parent :: $CP -r dir/sub dir
        child over its parent :: $CP -rT dir/sub dir
        others go on :: $CP -r dir a dir
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_COPIED_AMOUNT);
}

#[test]
fn trees() {
    let cases = r#"
        to a new name :: $CP -r dir new
        into a directory :: $CP -R dir other
        the long word :: $CP --recursive dir other
        with slashes :: $CP -r dir/ other/
        its contents :: $CP -r dir/. other
        to a new name with a slash :: $CP -r dir new/
        a file with -r :: $CP -r a new
        a symlink :: $CP -r link new
        a dangling symlink :: $CP -r dangling new
        a link to a directory :: $CP -r dlink new
        a link to a directory with a slash :: $CP -r dlink/ new
        a long link :: ln -s "$(printf '%01000d' 7)" long :: $CP -r long new
        merge :: mkdir -p other/dir/sub; printf old > other/dir/x; printf stays > other/dir/sub/z :: $CP -r dir other
        verbose :: $CP -rv dir new
        verbose into existing directories :: mkdir -p other/dir/sub :: $CP -rv dir other
        not over existing files :: mkdir other/dir; printf old > other/dir/x :: $CP -rn dir other
        not over existing files, told :: mkdir other/dir; printf old > other/dir/x :: $CP -rnv dir other
        parent missing :: $CP -r dir nodir/new
        deep :: mkdir -p dir/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15; printf d > dir/1/2/3/4/5/6/7/8/9/10/f :: $CP -r dir new
        hard links in a tree :: ln dir/x dir/x2 :: $CP -r dir new
        parent as a source :: cd dir; $CP -r ../other ../new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn modes() {
    let table = r#"
        special bits :: SPECIAL :: for f in a b empty; do $CP $f new-$f; done
        special bits with -p :: SPECIAL :: for f in a b empty; do $CP -p $f new-$f; done
        a tree :: SPECIAL :: $CP -r dir new
        a tree with -p :: SPECIAL :: $CP -rp dir new
        umask 077 :: SPECIAL :: umask 077; $CP a new; $CP -r dir newdir
        umask 077 with -p :: SPECIAL :: umask 077; $CP -p a new; $CP -rp dir newdir
        umask 000 :: chmod 0666 a; chmod 0777 dir :: umask 000; $CP a new; $CP -r dir newdir
        umask 777 :: SPECIAL :: umask 777; $CP a new; $CP -r dir newdir
        umask 022 on 0666 :: chmod 0666 a :: umask 022; $CP a new
        an existing file keeps its mode :: chmod 0600 b; chmod 0755 a :: $CP a b
        an existing setuid file :: chmod 4755 b :: $CP a b
        an existing file with -p :: chmod 0600 b; chmod 0755 a :: $CP -p a b
        existing directories keep their mode :: chmod 0700 dir; mkdir -m 0750 other/dir :: $CP -r dir other
        existing directories with -p :: chmod 0700 dir; mkdir -m 0750 other/dir :: $CP -rp dir other
        a directory without write permission :: chmod 0555 dir dir/sub :: $CP -r dir new
    "#;
    let special = "chmod 4755 a; chmod 2750 b; chmod 0000 empty; chmod 1777 dir; chmod 2775 dir/sub; chmod 0500 dir/void; chmod 0400 dir/x";
    let cases = table.replace("SPECIAL", special);
    assert_same_as_cp(&cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn owners_and_times() {
    if !is_root_or_skip("owners_and_times") {
        return;
    }
    let table = r#"
        owners without -p :: OWNED :: $CP a new; $CP -r dir newdir
        owners with -p :: OWNED :: $CP -p a new; $CP -rp dir newdir
        onto a file of someone else :: chown 55:66 b :: $CP a b
        onto a file of someone else with -p :: chown 55:66 b; chown 77:88 a :: $CP -p a b
        onto an existing directory :: mkdir other/dir; chown 55:66 other/dir :: $CP -rp dir other
        times with -p :: $CP -p a b empty other
        odd times with -p :: touch -d '1999-09-09 09:09:09.999999999' a; touch -d '1969-12-31 23:59:58.000000001 UTC' b :: $CP -p a b other
        access time with -p :: touch -d 2010-10-10 a; touch -a -d '2001-02-03 04:05:06.7' a :: $CP -p a new; stat -c %.9X new
        a symlink with -p :: chown -h 77:88 link :: $CP -rp link new
        through a symlink with -p :: chown -h 77:88 link; chown 5:6 a :: $CP -p link new
        empty with -p :: chown 5:6 empty :: $CP -p empty new
    "#;
    let owned = "chown 1234:2345 a dir dir/x; chown -h 77:88 dir/rel; chmod 6755 a; chmod 2755 dir";
    let cases = table.replace("OWNED", owned);
    assert_same_as_cp(&cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn force_and_no_clobber() {
    let cases = r#"
        -n over a file :: $CP -n a b
        -n to a new name :: $CP -n a new
        -n over a file, told :: $CP -nv a b
        -n into a directory :: printf old > other/a :: $CP -n a b other
        -n over a directory :: $CP -nT a other
        -n over a symlink :: $CP -n b link
        -n long :: $CP --no-clobber a b
        -n a missing source :: $CP -n nofile b
        -n a directory :: $CP -n dir b
        -f to a new name :: $CP -f a new
        -f over a file :: $CP -f a b
        -f over a symlink :: $CP -f b link
        -f over a directory :: $CP -fT a other
        -f long :: $CP --force a b
        over a socket :: $CP a sock
        over a socket with -f :: $CP -f a sock
        over a socket with -n :: $CP -n a sock
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}

/// The FIFO's writer has a deadline, so that a copier which never opens it leaves nobody behind.
#[test]
fn special_files() {
    let cases = r#"
        a FIFO :: mkfifo fifo :: timeout 20 sh -c 'printf through-a-pipe > fifo' >/dev/null 2>&1 & $CP fifo new
        a FIFO over a file :: mkfifo fifo :: timeout 20 sh -c 'printf through-a-pipe > fifo' >/dev/null 2>&1 & $CP fifo a
        a FIFO with -r :: mkfifo -m 0640 fifo :: $CP -r fifo new
        a FIFO in a tree :: mkfifo dir/fifo :: $CP -r dir new
        a FIFO in a tree with -p :: mkfifo -m 0606 dir/fifo :: $CP -rp dir new
        into a FIFO :: mkfifo fifo :: timeout 20 cat fifo > caught & $CP a fifo; wait
        a socket :: $CP sock new
        a socket, others go on :: $CP sock a other
        a socket with -r :: $CP -r sock new
        from /dev/null :: $CP /dev/null new
        from /dev/null over a file :: $CP /dev/null a
        to /dev/null :: $CP a /dev/null
        several to /dev/null :: $CP a b /dev/null
        to /dev/full :: $CP a /dev/full
        empty to /dev/full :: $CP empty /dev/full
        files whose size lies :: for f in /proc/version /proc/filesystems /sys/kernel/mm/transparent_hugepage/enabled; do $CP $f new-${f##*/}; done
        a proc directory without -r :: $CP /proc/self new
        standard input by name :: $CP /dev/stdin new < a
        standard input from a pipe :: printf piped | $CP /dev/stdin new
        standard output by name :: $CP a /dev/stdout | cat
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn without_permission() {
    if !is_root_or_skip("without_permission") {
        return;
    }
    let cases = r#"
        source unreadable :: chmod 0600 a :: $CP a new
        source unreadable, others go on :: chmod 0600 a; chmod 777 other :: $CP a b other
        source in a closed directory :: chmod 0700 dir :: $CP dir/x new
        destination directory not writable :: $CP a other
        destination directory closed :: chmod 0700 other :: $CP a other/new
        destination directory closed, -t :: chmod 0700 other :: $CP -t other a
        destination read-only :: chmod 0444 b :: $CP a b
        destination read-only with -f :: chmod 0444 b :: $CP -f a b
        destination read-only with -f, told :: chmod 0444 b :: $CP -fv a b
        destination read-only with -f, directory too :: printf o > other/b; chmod 0444 other/b :: $CP -f b other
        destination read-only with -n :: chmod 0444 b :: $CP -n a b
        own destination read-only :: chown 65534 b; chmod 0444 b :: $CP a b
        own destination read-only with -f :: chown 65534 b; chmod 0444 b :: $CP -f a b
        someone else's file with -p :: chmod 0644 a :: $CP -p a new
        someone else's setuid file with -p :: chmod 6755 a :: $CP -p a new
        someone else's tree with -p :: chmod 2755 dir :: $CP -rp dir new
        own file with -p :: chown -hR 65534:65534 . :: $CP -p a new
        own setuid file without -p :: chown 65534:65534 a; chmod 6755 a :: $CP a new
        over someone else's writable file with -p :: chmod 0666 b :: $CP -p a b
    "#;
    assert_same_as_cp(cases, ComparisonOptions::NOBODY);
}

#[test]
fn trees_without_permission() {
    if !is_root_or_skip("trees_without_permission") {
        return;
    }
    let cases = r#"
        an unreadable file inside :: chmod 0600 dir/x :: $CP -r dir new
        an unreadable directory inside :: chmod 0700 dir/sub :: $CP -r dir new
        a directory that cannot be searched :: chmod 0744 dir/sub :: $CP -r dir new
        an unreadable directory :: chmod 0700 dir :: $CP -r dir new
        into a directory that is not writable :: $CP -r dir other
        over a directory that is not writable :: mkdir -p other/dir/sub :: $CP -r dir other
        a read-only directory :: chmod 0555 dir dir/sub :: $CP -r dir new
        umask 077 :: umask 077; $CP -r dir new
        umask 577 :: umask 577; $CP a new; $CP -r dir newdir
    "#;
    assert_same_as_cp(cases, ComparisonOptions::NOBODY_ANY_ORDER);
}

/// What only a mount can show. The mounts live and die with a namespace of their own.
#[test]
fn mounts() {
    if !run(Command::new("unshare").args(["-m", "true"]))
        .status
        .success()
    {
        return skip("mounts", "no mount namespaces here");
    }
    let cases = r#"
        same file by a bind mount :: unshare -m sh -c 'mount --bind dir other && exec $CP dir/x other/x'
        into itself by a bind mount :: unshare -m sh -c 'mount --bind dir other && $CP -r dir other; s=$?; rm -r dir/dir; exit $s'
        read-only file system :: unshare -m sh -c 'mount -t tmpfs -o ro none other && exec $CP a other/new'
        tree to a read-only file system :: unshare -m sh -c 'mount -t tmpfs -o ro none other && exec $CP -r dir other/new'
        over a file on a read-only file system :: printf old > other/a :: unshare -m sh -c 'mount --bind other other && mount -o remount,bind,ro other && exec $CP -f a other'
        no room before the first byte :: truncate -s 3000000 big; dd if=/dev/zero of=big bs=1M count=2 conv=notrunc status=none :: unshare -m sh -c 'mount -t tmpfs -o size=1M none other && exec $CP --sparse=never a big other'
    "#;
    assert_same_as_cp(cases, ComparisonOptions::PLAIN);
}
