//! What is no plain file, beside cp: FIFOs, sockets, devices, files of /proc, and holes.

use std::process::Command;

use crate::cp_differential::{ComparisonOptions, assert_each_same_as_cp, assert_same_as_cp};
use crate::support::*;

/// A writer for a FIFO has a deadline, so that a copier which never opens it leaves nobody behind.
#[test]
fn special_files_in_trees() {
    let table = r#"
        a FIFO, WORD :: mkfifo -m 640 fifo :: $CP WORD fifo new
        a FIFO, told, WORD :: mkfifo fifo :: $CP WORD -v fifo new
        a FIFO over a file, WORD :: mkfifo fifo :: $CP WORD fifo b
        a FIFO over a FIFO, WORD :: mkfifo fifo -m 600 fifo2 :: $CP WORD fifo fifo2
        a FIFO over a link, WORD :: mkfifo fifo :: $CP WORD fifo link
        a FIFO over a dangling link, WORD :: mkfifo fifo :: $CP WORD fifo dangling
        a FIFO over a directory, WORD :: mkfifo other/fifo fifo; mv other/fifo other/f2; mkdir other/fifo :: $CP WORD fifo other
        a FIFO over a file with -f, WORD :: mkfifo fifo :: $CP WORD -f fifo b
        a FIFO over a file with -n, WORD :: mkfifo fifo :: $CP WORD -n fifo b
        a FIFO over a file with -b, WORD :: mkfifo fifo :: $CP WORD -b fifo b
        a FIFO over a file with -u, WORD :: mkfifo fifo; touch -d 2012-01-01 b :: $CP WORD -u fifo b
        a FIFO over a file with -i, WORD :: mkfifo fifo :: echo y | $CP WORD -i fifo b
        a FIFO over a file, removed first, WORD :: mkfifo fifo :: $CP WORD --remove-destination fifo b
        a FIFO onto itself, WORD :: mkfifo fifo :: $CP WORD fifo fifo
        a FIFO by a link, WORD :: mkfifo fifo; ln -s fifo flink :: $CP WORD -L flink new
        two names of a FIFO, WORD :: mkfifo fifo; ln fifo fifo2 :: $CP WORD fifo fifo2 other
        a FIFO in a tree, WORD :: mkfifo dir/fifo :: $CP WORD dir new
        a FIFO in a tree over a file, WORD :: mkfifo dir/fifo; mkdir other/dir; printf f > other/dir/fifo :: $CP WORD dir other
        attributes of a FIFO, WORD :: mkfifo -m 604 fifo :: $CP WORD --attributes-only fifo new
        attributes of a FIFO over a file, WORD :: mkfifo -m 604 fifo :: $CP WORD --attributes-only fifo b
        a socket, WORD :: $CP WORD sock new
        a socket over a file, WORD :: $CP WORD sock b
        a socket over a directory, WORD :: $CP WORD -T sock other
        a socket in a tree, WORD :: cp -a sock dir/sock :: $CP WORD -v dir new
        a device, WORD :: mknod -m 604 null c 1 3 :: $CP WORD null new
        a device over a file, WORD :: mknod null c 1 3 :: $CP WORD null b
        a block device, WORD :: mknod blk b 7 63 :: $CP WORD blk new
        a device in a tree, WORD :: mknod dir/null c 1 3 :: $CP WORD dir new
        umask, WORD :: mkfifo -m 666 fifo; mknod -m 666 null c 1 3 :: umask 027; $CP WORD fifo null sock other
    "#;
    let words = ["-R", "-a", "-Rp", "-RL", "-R --preserve=links"];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER);
}

#[test]
fn the_contents_of_special_files() {
    let table = r#"
        a FIFO, WORD :: mkfifo -m 640 fifo :: timeout 20 sh -c 'printf piped > fifo' >/dev/null 2>&1 & $CP WORD fifo new
        a FIFO, told, WORD :: mkfifo fifo :: timeout 20 sh -c 'printf piped > fifo' >/dev/null 2>&1 & $CP WORD -v fifo new
        a FIFO over a file, WORD :: mkfifo fifo :: timeout 20 sh -c 'printf piped > fifo' >/dev/null 2>&1 & $CP WORD fifo b
        a FIFO in a tree, WORD :: mkfifo -m 604 dir/fifo :: timeout 20 sh -c 'printf piped > dir/fifo' >/dev/null 2>&1 & $CP WORD dir new
        a big FIFO, WORD :: mkfifo fifo :: timeout 20 sh -c 'head -c 3000001 /dev/zero | tr "\0" x > fifo' >/dev/null 2>&1 & $CP WORD fifo new
        a FIFO of zeros, WORD :: mkfifo fifo :: timeout 20 sh -c 'head -c 300001 /dev/zero > fifo' >/dev/null 2>&1 & $CP WORD --sparse=always fifo new
        a FIFO without a byte, WORD :: mkfifo fifo :: timeout 20 sh -c ': > fifo' >/dev/null 2>&1 & $CP WORD fifo new
        a socket, WORD :: $CP WORD sock new
        a socket, others go on, WORD :: $CP WORD sock a other
        a device, WORD :: mknod -m 604 null c 1 3 :: $CP WORD null new
        a device over a file, WORD :: mknod null c 1 3 :: $CP WORD null b
        a device in a tree, WORD :: mknod dir/null c 1 3 :: $CP WORD dir new
        into a device, WORD :: mknod null c 1 3 :: $CP WORD a null
        into a device with -p, WORD :: mknod -m 600 null c 1 3 :: $CP WORD -p a null
        into a device, removed first, WORD :: mknod null c 1 3 :: $CP WORD --remove-destination a null
        into a device with a backup, WORD :: mknod null c 1 3 :: $CP WORD -b a null
        into a full device, WORD :: mknod full c 1 7 :: $CP WORD a full
        into a FIFO, WORD :: mkfifo fifo :: timeout 20 cat fifo > caught & $CP WORD a fifo; wait
        into a FIFO, told, WORD :: mkfifo fifo :: timeout 20 cat fifo > caught & $CP WORD -v a fifo; wait
        into a FIFO, removed first, WORD :: mkfifo fifo :: $CP WORD --remove-destination a fifo
        into a socket, WORD :: $CP WORD a sock
        into a socket with -f, WORD :: $CP WORD -f a sock
        into a socket, removed first, WORD :: $CP WORD --remove-destination a sock
    "#;
    for words in [
        "",
        "-R --copy-contents",
        "-a --copy-contents",
        "-p",
        "--copy-contents",
    ] {
        let table = table.replace("WORD", words);
        // The newest cp preserves the times that a FIFO has when it is open at both ends: before or after the first byte.
        let (timed, others): (Vec<&str>, Vec<&str>) = table
            .lines()
            .partition(|line| words.contains(['a', 'p']) && line.contains("fifo' >/dev/null"));
        assert_same_as_cp(&timed.join("\n"), ComparisonOptions::ANY_ORDER.older_only());
        assert_same_as_cp(&others.join("\n"), ComparisonOptions::ANY_ORDER);
    }
}

#[test]
fn files_of_proc() {
    let cases = r#"
        several :: $CP /proc/version /proc/filesystems other
        with -R :: $CP -R /proc/version new
        with -a :: $CP -a /proc/version new; stat -c %a new; rm new
        with -p :: $CP -p /proc/version new; stat -c %a new; rm new
        a link :: $CP -P /proc/self/cwd new; rm new
        sparse :: for w in always never auto; do $CP --sparse=$w /proc/filesystems new-$w; done
        a directory of it :: $CP -R /proc/sys/kernel/random new; ls new; rm -r new
        into it :: $CP a /proc/new
        a tree into it :: $CP -R dir /proc/new
    "#;
    assert_same_as_cp(cases, ComparisonOptions::ANY_ORDER);
}

#[test]
fn holes() {
    let table = r#"
        all data, WORD :: head -c 40000 /dev/zero | tr '\0' x > f :: $CP WORD f new
        zeros, WORD :: head -c 200000 /dev/zero > f :: $CP WORD f new
        all hole, WORD :: truncate -s 300000 f :: $CP WORD f new
        a hole at the end, WORD :: head -c 8192 /dev/zero | tr '\0' x > f; truncate -s 300000 f :: $CP WORD f new
        a hole at the beginning, WORD :: truncate -s 100000 f; printf end >> f :: $CP WORD f new
        holes between, WORD :: HOLES :: $CP WORD f new
        a few zeros, WORD :: head -c 8192 /dev/zero | tr '\0' x > f; dd if=/dev/zero of=f bs=512 seek=3 count=4 conv=notrunc status=none :: $CP WORD f new
        zeros that begin and end in blocks, WORD :: head -c 65536 /dev/zero | tr '\0' x > f; dd if=/dev/zero of=f bs=1000 seek=5 count=30 conv=notrunc status=none :: $CP WORD f new
        zeros at the end, WORD :: head -c 5000 /dev/zero | tr '\0' x > f; head -c 100000 /dev/zero >> f :: $CP WORD f new
        over a longer file, WORD :: HOLES; head -c 400000 /dev/zero | tr '\0' y > g :: $CP WORD f g
        over a link, WORD :: HOLES; ln -s b blink :: $CP WORD f blink
        in a tree, WORD :: HOLES; mv f dir/f :: $CP -R WORD dir new
        to a pipe, WORD :: HOLES :: $CP WORD f /dev/stdout | cat > caught
        zeros to a pipe, WORD :: head -c 200000 /dev/zero > f :: $CP WORD f /dev/stdout | wc -c
        a hole at the end to a pipe, WORD :: printf x > f; truncate -s 100000 f :: $CP WORD f /dev/stdout | wc -c
        to a FIFO, WORD :: HOLES; mkfifo fifo :: timeout 20 cat fifo > caught & $CP WORD f fifo; wait
        to a device, WORD :: HOLES; mknod null c 1 3 :: $CP WORD f null
        from a pipe, WORD :: head -c 100000 /dev/zero | $CP WORD /dev/stdin new
        from a pipe, data and zeros, WORD :: HOLES :: cat f | $CP WORD /dev/stdin new
        empty, WORD :: $CP WORD empty new
    "#;
    let holes = "truncate -s 300000 f; for i in 5 20 40 41 60; do head -c 4096 /dev/zero | tr '\\0' h | dd of=f bs=4096 seek=$i conv=notrunc status=none; done";
    for words in [
        "--sparse=auto",
        "--sparse=always",
        "--sparse=never",
        "--reflink=never",
        "--reflink=auto --sparse=always",
    ] {
        let cases = table.replace("HOLES", holes).replace("WORD", words);
        assert_same_as_cp(&cases, ComparisonOptions::PLAIN);
    }
    // Left to themselves, cp looks for zeros in what has a hole, and takes a file of few blocks for one without.
    let table = r#"
        zeros between holes, WORD :: HOLES; dd if=/dev/zero of=f bs=4096 seek=20 count=3 conv=notrunc status=none :: $CP WORD f new
        small, WORD :: truncate -s 100 f :: $CP WORD f new
    "#;
    for words in ["--sparse=always", "--sparse=never"] {
        let cases = table.replace("HOLES", holes).replace("WORD", words);
        assert_same_as_cp(&cases, ComparisonOptions::PLAIN);
    }
}

/// Devices of the kernel, and other file systems in the way of a walk. The mounts live and die with a namespace of their own.
#[test]
fn one_file_system() {
    if !run(Command::new("unshare").args(["-m", "true"]))
        .status
        .success()
    {
        return skip("one_file_system", "no mount namespaces here");
    }
    let table = r#"
        a mount in a tree, WORD :: unshare -m sh -c 'mount -t tmpfs none dir/sub && printf m > dir/sub/m && exec $CP WORD dir new'
        a mount as the operand, WORD :: unshare -m sh -c 'mount -t tmpfs none dir && printf m > dir/m && mkdir dir/d && exec $CP WORD dir new'
        a mount of a file in a tree, WORD :: printf m > m :: unshare -m sh -c 'mount -t tmpfs none other && printf o > other/o && mount --bind other/o dir/x && exec $CP WORD dir new'
        a mount by a link, WORD :: ln -s ../other dir/out :: unshare -m sh -c 'mount -t tmpfs none other && printf m > other/m && exec $CP WORD dir new'
        a mount twice, WORD :: unshare -m sh -c 'mount -t tmpfs none dir/sub && mkdir dir/sub/in && mount -t tmpfs none dir/sub/in && printf m > dir/sub/in/m && exec $CP WORD -v dir new'
    "#;
    let words = [
        "-R",
        "-Rx",
        "-ax",
        "-RLx",
        "-x",
        "--one-file-system -r",
        "-Rlx",
    ];
    assert_each_same_as_cp(table, &words, ComparisonOptions::ANY_ORDER);
}
