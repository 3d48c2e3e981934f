//! Limits that mean nothing: refused before anything is touched, in words that name the option and what it takes.

use std::fs;

use crate::support::*;

/// A value that is none, and a word of what is said.
const BAD_LIMITS: &[(&[&str], &str)] = &[
    (&["--limit-rate=0"], "from 1K to 100G"),
    (&["--limit-rate=-1M"], "from 1K to 100G"),
    (&["--limit-rate=fast"], "from 1K to 100G"),
    (&["--limit-rate=1T"], "from 1K to 100G"),
    (&["--limit-rate=99999999999999999999"], "from 1K to 100G"),
    (&["--limit-rate="], "from 1K to 100G"),
    (&["--limit-rate=50m"], "did you mean M?"),
    (&["--limit-rate=50mb/s"], "did you mean MB/s?"),
    (&["--limit-rate=5M/h"], "from 1K to 100G"),
    (&["--max-fork-latency=5"], "a time with a unit"),
    (&["--max-fork-latency=0ms"], "from 1us to 1h"),
    (&["--max-wakeup-latency=0ms"], "from 1us to 1h"),
    (&["--max-write-latency=-5ms"], "from 1us to 1h"),
    (&["--max-write-latency=2h"], "from 1us to 1h"),
    (&["--max-write-latency=5m"], "such as 5ms"),
    (&["--max-pressure=0.001"], "from 0.01 to 100"),
    (&["--max-pressure=0"], "from 0.01 to 100"),
    (&["--max-pressure=101%"], "from 0.01 to 100"),
    (
        &["--max-pressure=5", "--give-up-after=10"],
        "a time with a unit",
    ),
    (&["--give-up-after=10s"], "can be used only with"),
    (
        &["--limit-rate=1M", "--give-up-after=10s"],
        "can be used only with",
    ),
];

#[test]
fn nothing_is_written_before_a_limit_is_understood() {
    let disk = disk_dir();
    let (source, old, new) = (
        disk.path().join("dump"),
        disk.path().join("old"),
        disk.path().join("new"),
    );
    make_dense_dump(&source, 5000);
    fs::write(&old, "kept").unwrap();
    for (options, word) in BAD_LIMITS {
        for destination in [&old, &new] {
            let mut command = mmapcp();
            command.env("LC_ALL", "C").args(*options);
            let output = run(command.arg(&source).arg(destination));
            assert_eq!(output.status.code(), Some(1), "{options:?}");
            let stderr = lossy_string(&output.stderr);
            let (name, _) = options.last().unwrap().split_once('=').unwrap();
            assert!(stderr.contains(name), "{options:?}: {stderr}");
            assert!(stderr.contains(word), "{options:?}: {stderr}");
            assert_eq!(
                stderr.lines().nth(1),
                Some("Try 'mmapcp --help' for more information."),
                "{options:?}"
            );
            assert!(output.stdout.is_empty(), "{options:?}");
        }
        assert!(!new.exists(), "{options:?}");
        assert_eq!(fs::read(&old).unwrap(), b"kept", "{options:?}");
    }
}

/// The option that is missing its argument takes the next word, as cp's do.
#[test]
fn a_limit_may_stand_as_the_next_word() {
    let disk = disk_dir();
    let source = disk.path().join("dump");
    make_dense_dump(&source, 5000);
    let output = run(mmapcp().arg("--limit-rate").arg(&source).arg("x"));
    assert_exit(&output, 1);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains("--limit-rate"), "{stderr}");
    let output = run(mmapcp().arg("a").arg("b").arg("--max-fork-latency"));
    assert_exit(&output, 1);
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr.contains("option '--max-fork-latency' requires an argument"),
        "{stderr}"
    );
}

#[test]
fn a_rate_may_end_with_by_the_second() {
    let disk = disk_dir();
    let source = disk.path().join("dump");
    make_dense_dump(&source, 5000);
    for rate in ["10MiB/s", "5MB/s", "100K/s", "1G"] {
        let dest = disk.path().join("copy");
        let output = run(mmapcp()
            .arg(format!("--limit-rate={rate}"))
            .args([&source, &dest]));
        assert_exit_in(&output, 0, rate);
        assert_same_content(&source, &dest, rate);
    }
}

/// cp's own options are answered as cp answers them, and what resembles nothing gets no suggestion.
#[test]
fn a_misspelt_option_of_ours_is_suggested() {
    let stderr_of = |option: &str| {
        let output = run(mmapcp().args([option, "a", "b"]));
        assert_eq!(output.status.code(), Some(1), "{option}");
        lossy_string(&output.stderr)
    };
    for (wrong, right) in [
        ("--limt-rate=5M", "--limit-rate"),
        ("--max-fork-latancy=5ms", "--max-fork-latency"),
        ("--jsno", "--json"),
        ("--fsycn", "--fsync"),
        ("--progess", "--progress"),
    ] {
        let want = format!(
            "mmapcp: unrecognized option '{wrong}'\n\
             mmapcp: did you mean '{right}'?\n\
             Try 'mmapcp --help' for more information.\n"
        );
        assert_eq!(stderr_of(wrong), want);
    }
    for other in ["--recursvie", "--forec", "--quiet", "--x"] {
        let stderr = stderr_of(other);
        assert!(!stderr.contains("did you mean"), "{stderr}");
    }
}
