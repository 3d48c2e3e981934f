//! What `forklat` refuses before anything is measured: 125, a sentence on standard error, and nothing left behind.

use std::fs;

use super::{Process, RunFixture, SHORT_RUN, wait_until};
use crate::support::{Running, assert_exit, describe_output, lossy_string, run};

/// Words of `run`, and what is said about them.
const BAD_COMMAND_LINES: &[(&[&str], &str)] = &[
    (&[], "a command, --attach or --for is required"),
    (&["--"], "a command, --attach or --for is required"),
    (
        &["--for=1", "--why=0"],
        "--why: the time must be above zero",
    ),
    (
        &["--for=1", "--period=fork=0"],
        "--period=fork: the period must be from 100us to 1h",
    ),
    (
        &["--for=1", "--period=fork=1us"],
        "--period=fork: the period must be from 100us to 1h",
    ),
    (
        &["--for=1", "--period=exec=2h"],
        "--period=exec: the period must be from 100us to 1h",
    ),
    (&["--for=1", "--period=fork"], "'fork' is not NAME=TIME"),
    (&["--for=1", "--period=fork=soon"], "'soon' is not a time"),
    (&["--for=1", "--period=fork=-1"], "value is negative"),
    (
        &["--for=1", "--period=forks=1ms"],
        "no probe is called 'forks': wakeup, fork, exec, touch",
    ),
    (
        &["--for=1", "--probe=forks"],
        "invalid argument 'forks' for '--probe'\nValid arguments are:\n  - 'wakeup'\n  - 'fork'\n  - 'exec'\n  - 'touch'\n  - 'write'\n  - 'fsync'\n  - 'read'\n  - 'overwrite'\n  - 'stream'\n  - 'all'\nTry",
    ),
    (
        &["--for=1", "--probe="],
        "option '--probe' requires an argument\nValid arguments are:\n  - 'wakeup'\n  - 'fork'",
    ),
    (
        &["--for=1", "--probe=fork", "--period=exec=9ms"],
        "--period=exec: that probe is not selected",
    ),
    (
        &["--for=1", "--period=write=9ms"],
        "--period=write: that probe is not selected",
    ),
    (
        &["--for=1", "--probe=write"],
        "--probe=write needs --on=DIR, since the current directory lies in memory",
    ),
    (
        &["--for=1", "--probe=fork,fsync"],
        "--probe=fsync needs --on=DIR, since the current directory lies in memory",
    ),
    (
        &["--for=1", "--probe=read"],
        "--probe=read needs --on=DIR, since the current directory lies in memory",
    ),
    (
        &["--for=1", "--on=missing"],
        "cannot access 'missing': No such file or directory",
    ),
    (&["--for=1", "--on=old"], "'old' is not a directory"),
    (&["--for=1", "--rss=much"], "'much'"),
    (
        &["--for=1", "--rss=900T", "--probe=fork"],
        "of 900.00 TiB take ",
    ),
    (
        &["--for=1", "--rss=1M", "--probe=touch"],
        "--rss: the probe fork is not selected",
    ),
    (
        &["--for=1", "--exec-cold", "--probe=fork"],
        "--exec-cold: the probe exec is not selected",
    ),
    (&["--for=never"], "'never' is not a time"),
    (&["--baseline=-1", "true"], "value is negative"),
    (&["--settle=1y1y1q", "true"], "is not a time"),
    // Linux counts processes to 2^22.
    (&["--attach=4194305"], "there is no process 4194305"),
    (&["--attach=0"], "0 is not in 1.."),
    (&["--attach=self"], "invalid argument 'self' for '--attach'"),
    (
        &["--attach=1", "--", "true"],
        "option '--attach' cannot be used with COMMAND",
    ),
    (&["--for=1", "--", "true"], "cannot be used with"),
    (
        &["--no-such-option", "true"],
        "unrecognized option '--no-such-option'",
    ),
    (
        &["--export-csv=no/such", "true"],
        "cannot write 'no/such': No such file or directory",
    ),
    (
        &["--export-csv=.", "true"],
        "cannot write '.': Is a directory",
    ),
    (
        &["--export-hlog=old/file", "true"],
        "cannot write 'old/file': Not a directory",
    ),
    (
        &["--export-markdown=new", "true"],
        "two exports to 'new' and 'new'",
    ),
    (
        &["--export-markdown=-", "--export-csv=-", "true"],
        "two exports to standard output and standard output",
    ),
];

#[test]
fn bad_command_lines_are_refused() {
    let place = RunFixture::new();
    fs::write(place.path("old"), "precious").unwrap();
    for (words, said) in BAD_COMMAND_LINES {
        let output = run(place
            .forklat()
            .args(["run", "--export-json=new"])
            .args(*words));
        assert_eq!(
            output.status.code(),
            Some(125),
            "{words:?} {}",
            describe_output(&output)
        );
        assert!(
            output.stdout.is_empty(),
            "{words:?} {}",
            describe_output(&output)
        );
        let stderr = lossy_string(&output.stderr);
        assert!(
            stderr.contains(said),
            "{words:?} {}",
            describe_output(&output)
        );
        assert!(
            stderr.starts_with("forklat: "),
            "{words:?} {}",
            describe_output(&output)
        );
        place.assert_only(&["old"]);
    }
    assert_eq!(fs::read(place.path("old")).unwrap(), b"precious");
}

/// Command lines and all that is said about them.
const MISTAKES: &[(&[&str], &str)] = &[
    (
        &[],
        "forklat: missing subcommand: run, compare, scale, watch or merge\n\
         Try 'forklat --help' for more information.\n",
    ),
    (
        &["--no-such-option"],
        "forklat: unrecognized option '--no-such-option'\n\
         Try 'forklat --help' for more information.\n",
    ),
    (
        &["comprae"],
        "forklat: unrecognized subcommand 'comprae'\nforklat: did you mean 'compare'?\n\
         Try 'forklat --help' for more information.\n",
    ),
    // Similar to `compare` for clap.
    (
        &["measure"],
        "forklat: unrecognized subcommand 'measure'\nTry 'forklat --help' for more information.\n",
    ),
    (
        &["run", "--basline=1s", "true"],
        "forklat: unrecognized option '--basline'\nforklat: did you mean '--baseline'?\n\
         Try 'forklat run --help' for more information.\n",
    ),
    (
        &["run", "-z"],
        "forklat: invalid option -- 'z'\nTry 'forklat run --help' for more information.\n",
    ),
    (
        &["run", "--for"],
        "forklat: option '--for' requires an argument\n\
         Try 'forklat run --help' for more information.\n",
    ),
    (
        &["run", "--for=1", "--for=2"],
        "forklat: option '--for' is given twice\nTry 'forklat run --help' for more information.\n",
    ),
    (
        &["run", "--exec-cold=1"],
        "forklat: option '--exec-cold' doesn't allow an argument\n\
         Try 'forklat run --help' for more information.\n",
    ),
    (
        &["run"],
        "forklat: a command, --attach or --for is required\n\
         Try 'forklat run --help' for more information.\n",
    ),
    (
        &["compare", "--size=50m"],
        "forklat: invalid argument '50m' for '--size': 'm' in '50m' is not a unit of size; did you mean M?\n\
         Try 'forklat compare --help' for more information.\n",
    ),
    (
        &["compare", "--size=1M", "--source=x"],
        "forklat: option '--size' cannot be used with '--source'\n\
         Try 'forklat compare --help' for more information.\n",
    ),
    (
        &["compare", "extra"],
        "forklat: extra operand 'extra'\nTry 'forklat compare --help' for more information.\n",
    ),
    (
        &["merge"],
        "forklat: missing file operand\nTry 'forklat merge --help' for more information.\n",
    ),
];

/// In the form of mmapcp, word by word.
#[test]
fn mistakes_are_told_as_mmapcp_tells_them() {
    let place = RunFixture::new();
    for (words, said) in MISTAKES {
        let output = run(place.forklat().args(*words));
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        assert_eq!(lossy_string(&output.stderr), *said, "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    let output = run(crate::support::mmapcp().arg("--no-such-option"));
    let theirs = lossy_string(&output.stderr).replace("mmapcp", "forklat");
    assert_eq!(theirs, MISTAKES[1].1, "the other program");
    place.assert_only(&[]);
}

#[test]
fn an_older_export_stays_when_nothing_was_measured() {
    let place = RunFixture::new();
    fs::write(place.path("json"), "older").unwrap();
    let words = [
        &SHORT_RUN[..],
        &["--export-json=json", "--export-csv=csv", "no-such-command"],
    ];
    let output = place.run(&words.concat());
    assert_exit(&output, 127);
    assert_eq!(fs::read(place.path("json")).unwrap(), b"older");
    place.assert_only(&["json"]);
}

#[test]
fn no_task_or_one_that_is_unknown() {
    let place = RunFixture::new();
    for words in [
        &[][..],
        &["measure"],
        &["--no-such-option"],
        &["merge"],
        &["help"],
    ] {
        let output = run(place.forklat().args(words));
        assert_eq!(
            output.status.code(),
            Some(125),
            "{words:?} {}",
            describe_output(&output)
        );
        assert!(
            output.stdout.is_empty(),
            "{words:?} {}",
            describe_output(&output)
        );
        assert!(
            lossy_string(&output.stderr).contains("\nTry 'forklat "),
            "{}",
            describe_output(&output)
        );
    }
    for words in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = run(place.forklat().args(words));
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            describe_output(&output)
        );
    }
    place.assert_only(&[]);
}

/// A zombie has ended, whoever has not looked yet.
#[test]
fn a_process_that_has_ended() {
    let place = RunFixture::new();
    let ended = Running::start(&mut std::process::Command::new("true"));
    let pid = ended.pid();
    wait_until("a zombie", || Process::of(pid).unwrap().state == b'Z');
    let output = place.run(&[&format!("--attach={pid}")]);
    assert_exit(&output, 125);
    assert_eq!(
        lossy_string(&output.stderr),
        format!("forklat: there is no process {pid}\n")
    );
    ended.finish();
    place.assert_only(&[]);
}
