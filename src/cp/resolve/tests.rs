use std::time::Duration;

use super::*;
use crate::cp::messages::usage;
use crate::cp::options::{Backup, BackupNames, CopyMode, DestOperand};
use crate::cp::options::{Dereference, Overwrite, Preserve};
use crate::report::progress;
use crate::transfer::Reflink;
use crate::transfer::rate_limit::Limits;
use std::num::NonZeroUsize;

fn resolved_in(environment: &Environment, line: &str) -> Resolved {
    resolve(line.split(' ').map(OsString::from), environment)
}

fn options_in(environment: &Environment, line: &str) -> CopyOptions {
    let options = resolved_in(environment, line).options;
    options.unwrap_or_else(|e| panic!("{line}: {e:?}"))
}

fn options(line: &str) -> CopyOptions {
    options_in(&Environment::default(), line)
}

/// Returns the first line of the answer that is given instead of copying.
fn mistake_in(environment: &Environment, line: &str) -> String {
    first_line(resolved_in(environment, line).options, line)
}

fn first_line(options: Result<CopyOptions, CliAnswer>, line: &str) -> String {
    match options {
        Err(CliAnswer::Mistake(error)) => {
            // The quotation marks depend on the locale of the tester.
            let text = String::from_utf8(usage::usage_error(&error)).unwrap();
            let text = text.replace(['\u{2018}', '\u{2019}'], "'");
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("mmapcp: ").unwrap_or(first).to_owned()
        }
        other => panic!("{line}: {other:?}"),
    }
}

fn mistake(line: &str) -> String {
    mistake_in(&Environment::default(), line)
}

fn selinux() -> Environment {
    Environment {
        is_selinux_enabled: || true,
        ..Environment::default()
    }
}

#[test]
fn last_link_option_wins() {
    for (line, want) in [
        ("a b", Dereference::Always),
        ("-r a b", Dereference::Never),
        ("-rl a b", Dereference::Always),
        ("-rH a b", Dereference::Operands),
        ("-LP a b", Dereference::Never),
        ("-PL a b", Dereference::Always),
        ("-aL a b", Dereference::Always),
        ("-La a b", Dereference::Never),
        ("-Ld a b", Dereference::Never),
        ("-dH a b", Dereference::Operands),
        ("-Pr a b", Dereference::Never),
    ] {
        assert_eq!(options(line).dereference, want, "{line}");
    }
}

#[test]
fn update_ask_and_no_clobber_rank_as_in_cp() {
    for (line, existing, update) in [
        ("a b", Overwrite::Replace, false),
        ("-i a b", Overwrite::Ask, false),
        ("-in a b", Overwrite::Skip, false),
        ("-ni a b", Overwrite::Ask, false),
        ("-u a b", Overwrite::Replace, true),
        ("-iu a b", Overwrite::Ask, true),
        ("-nu a b", Overwrite::Skip, false),
        ("-un a b", Overwrite::Skip, false),
        ("--update a b", Overwrite::Replace, true),
        ("--update=older a b", Overwrite::Replace, true),
        ("--update=all a b", Overwrite::Replace, false),
        ("-u --update=all a b", Overwrite::Replace, false),
        ("--update=none a b", Overwrite::Skip, false),
        ("--update=none-f a b", Overwrite::Fail, false),
        ("--update=none -u a b", Overwrite::Replace, true),
        ("-n --update=none-fail a b", Overwrite::Skip, false),
        ("-i --update=none-fail a b", Overwrite::Fail, false),
        ("-i --update=none a b", Overwrite::Skip, false),
    ] {
        let options = options(line);
        assert_eq!(
            (options.overwrite, options.update),
            (existing, update),
            "{line}"
        );
    }
}

/// Returns the attributes that -p preserves.
fn preserved_by_p() -> Preserve {
    Preserve {
        mode: true,
        ownership: true,
        timestamps: true,
        required: true,
        ..Preserve::default()
    }
}

/// Returns the attributes that -a preserves.
fn preserved_by_a() -> Preserve {
    Preserve {
        links: true,
        xattr: true,
        quiet: true,
        ..preserved_by_p()
    }
}

#[test]
fn preserved_attributes_add_up_in_their_order() {
    let (p, a) = (preserved_by_p(), preserved_by_a());
    for (line, want) in [
        ("a b", Preserve::default()),
        ("-p a b", p),
        ("--preserve a b", p),
        ("-a a b", a),
        (
            "-d a b",
            Preserve {
                links: true,
                ..Preserve::default()
            },
        ),
        ("--preserve=all a b", Preserve { quiet: false, ..a }),
        ("--preserve=m,o,t a b", p),
        (
            "--preserve=xattr a b",
            Preserve {
                xattr: true,
                xattr_required: true,
                required: true,
                ..Preserve::default()
            },
        ),
    ] {
        assert_eq!(options(line).preserve, want, "{line}");
    }
}

#[test]
fn attributes_that_are_not_preserved_are_taken_away_in_their_order() {
    let (p, a) = (preserved_by_p(), preserved_by_a());
    for (line, want) in [
        (
            "-p --no-preserve=mode a b",
            Preserve {
                mode: false,
                default_mode: true,
                ..p
            },
        ),
        (
            "--no-preserve=mode -p a b",
            Preserve {
                default_mode: true,
                ..p
            },
        ),
        (
            "--no-preserve=mode --preserve=mode a b",
            Preserve {
                mode: true,
                required: true,
                ..Preserve::default()
            },
        ),
        (
            "-a --no-preserve=ownership,links a b",
            Preserve {
                ownership: false,
                links: false,
                ..a
            },
        ),
        ("-a --no-preserve=xattr a b", Preserve { xattr: false, ..a }),
        (
            "-p --no-preserve=all a b",
            Preserve {
                default_mode: true,
                required: true,
                ..Preserve::default()
            },
        ),
    ] {
        assert_eq!(options(line).preserve, want, "{line}");
    }
}

#[test]
fn contexts_are_as_the_kernel_has_them() {
    let none = Environment::default();
    assert!(!options("-a a b").preserve.context);
    assert!(options_in(&selinux(), "-a a b").preserve.context);
    assert!(
        options_in(&selinux(), "--preserve=all a b")
            .preserve
            .context
    );
    assert!(resolved_in(&none, "-Z a b").warnings.is_empty());
    let warned = resolved_in(&none, "--context=x --foo").warnings;
    let warned: Vec<_> = warned.into_iter().map(usage::usage_warning).collect();
    assert_eq!(
        warned,
        ["warning: ignoring --context; it requires an SELinux-enabled kernel"]
    );
    let refused = "cannot preserve security context without an SELinux-enabled kernel";
    assert_eq!(mistake("--preserve=context a b"), refused);
    let set = options_in(&selinux(), "-a --context=x a b");
    assert_eq!(set.context, Some("x".into()));
    assert!(!set.preserve.context, "what is set is stronger than -a");
    let both = "--preserve=context --context=x a b";
    assert_eq!(
        mistake_in(&selinux(), both),
        "cannot set target context and preserve it"
    );
    let default = resolved_in(&selinux(), "-aZ a b");
    assert_eq!(
        default.warnings.len(),
        1,
        "-Z wants the policy, which nobody reads here"
    );
    assert!(default.options.unwrap().preserve.context);
}

#[test]
fn backups_are_named_by_word_and_environment() {
    let variables = Environment {
        version_control: "simple".into(),
        suffix: Some(".old".into()),
        ..Environment::default()
    };
    for (environment, line, names, suffix) in [
        (
            &Environment::default(),
            "-b a b",
            BackupNames::Existing,
            "~",
        ),
        (
            &Environment::default(),
            "-S .x a b",
            BackupNames::Existing,
            ".x",
        ),
        (
            &Environment::default(),
            "-S .x/ a b",
            BackupNames::Existing,
            ".x/",
        ),
        (
            &Environment::default(),
            "-S /x a b",
            BackupNames::Existing,
            "~",
        ),
        (
            &Environment::default(),
            "--backup=t -b a b",
            BackupNames::Numbered,
            "~",
        ),
        (&variables, "-b a b", BackupNames::Simple, ".old"),
        (&variables, "--backup= a b", BackupNames::Simple, ".old"),
        (&variables, "--backup=nu a b", BackupNames::Numbered, ".old"),
        (&variables, "--suffix= a b", BackupNames::Simple, "~"),
        (&variables, "-Sx/y a b", BackupNames::Simple, "~"),
    ] {
        let suffix = suffix.into();
        assert_eq!(
            options_in(environment, line).backup,
            Some(Backup { names, suffix }),
            "{line}"
        );
    }
    assert_eq!(options("--backup=none a b").backup, None);
    assert_eq!(options_in(&variables, "a b").backup, None, "nobody asked");
}

#[test]
fn an_abbreviation_means_what_it_means_to_cp() {
    for de in ["d", "de"] {
        assert_eq!(
            mistake(&format!("--{de} a b")),
            format!("option '--{de}' is ambiguous; possibilities: '--debug' '--dereference'")
        );
    }
    assert_eq!(options("--der a b").dereference, Dereference::Always);
    assert!(options("--deb a b").report.debug);
    assert!(options("--f a b").force);
    assert!(options("--fs a b").durability.fsync);
    assert!(options("--attr a b").attributes_only);
    assert!(options("--ato a b").durability.atomic);
    assert!(options("--pa -t d a").parents);
    assert!(options("--path -t d a").parents);
    assert!(options("--pr a b").preserve.mode);
    assert_eq!(
        options("--pro=always a b").report.progress,
        progress::ShowProgress::Always
    );
    assert!(options("--k a b").keep_directory_symlink);
    for l in ["--l a b", "--li a b", "--lin a b"] {
        assert_eq!(options(l).copy_mode, CopyMode::HardLink, "{l}");
    }
    for i in ["--i a b", "--in a b"] {
        assert_eq!(options(i).overwrite, Overwrite::Ask, "{i}");
    }
    assert!(options("--id a b").idle);
    assert_eq!(options("--lim=1M a b").throttle.rate, Some(1 << 20));
    assert_eq!(
        mistake("--m=1 a b"),
        "option '--m=1' is ambiguous; possibilities: '--manifest' '--max-size' '--max-fork-latency' '--max-wakeup-latency' '--max-write-latency' '--max-pressure'"
    );
    let among_ours = "option '--j' is ambiguous; possibilities: '--jobs' '--json'";
    assert_eq!(mistake("--j a b"), among_ours);
}

#[test]
fn operands_go_where_the_words_say() {
    let target = |line: &str| options(line).target;
    assert_eq!(target("a b -t d"), DestOperand::Directory("d".into()));
    assert_eq!(target("a b"), DestOperand::Either("b".into()));
    assert_eq!(target("-T a b"), DestOperand::Exact("b".into()));
    assert_eq!(target("a -- -T"), DestOperand::Either("-T".into()));
    let posix = Environment {
        posixly_correct: true,
        ..Environment::default()
    };
    let first = options_in(&posix, "a -T b");
    assert_eq!(first.target, DestOperand::Either("b".into()));
    assert_eq!(first.sources.len(), 2);
    assert!(first.through_dangling);
}

#[test]
fn jobs_are_a_number_of_at_least_one() {
    assert_eq!(options("a b").jobs, None);
    assert_eq!(options("--jobs=7 a b").jobs.map(NonZeroUsize::get), Some(7));
    for wrong in ["0", "-1", "", "x", "1x", " 1", "99999999999999999999999"] {
        let options = resolve(["--jobs".into(), wrong.into()], &Environment::default()).options;
        assert!(matches!(options, Err(CliAnswer::Mistake(_))), "{wrong}");
    }
}

#[test]
fn others_at_the_disk_are_counted_where_they_can_be_told_from_this_run() {
    for (line, counts) in [
        ("a b", true),
        ("--fsync --atomic a b", true),
        ("a b dir", true),
        ("--fsync a b dir", false),
        ("--fsync -r a b", false),
        ("--in-flight=1M a b", false),
    ] {
        let counted = options(line).transfer.count_requests;
        assert_eq!(counted.is_some(), counts, "{line}");
    }
}

#[test]
fn what_may_be_in_flight_is_a_size_within_bounds() {
    assert_eq!(options("a b").transfer.in_flight, None);
    for (value, bytes) in [
        ("64K", 64 << 10),
        ("4M", 4 << 20),
        ("1MB", 1_000_000),
        ("64MiB", 64 << 20),
    ] {
        let line = format!("--in-flight={value} a b");
        assert_eq!(options(&line).transfer.in_flight, Some(bytes), "{value}");
    }
    for wrong in [
        "",
        "0",
        "-1M",
        "63K",
        "65M",
        "1m",
        "x",
        "4M/s",
        "99999999999999999999999",
    ] {
        limit_refused("--in-flight", wrong, "a size from 64K to 64M, as 4M");
    }
}

#[test]
fn limits_are_what_they_say() {
    assert_eq!(options("a b").throttle, Limits::default());
    assert!(!options("a b").idle && options("--idle a b").idle);
    for (value, rate) in [
        ("1K", 1 << 10),
        ("1024", 1 << 10),
        ("10MB", 10_000_000),
        ("1.5M", 3 << 19),
        ("50MiB", 50 << 20),
        ("10MiB/s", 10 << 20),
        ("5MB/s", 5_000_000),
        ("0.5G", 1 << 29),
        ("100G", 100 << 30),
    ] {
        let line = format!("--limit-rate={value} a b");
        assert_eq!(options(&line).throttle.rate, Some(rate), "{line}");
    }
    for (value, microseconds) in [
        ("1us", 1),
        ("250us", 250),
        ("2.5ms", 2500),
        ("1s", 1_000_000),
        ("1h", 3_600_000_000),
    ] {
        let time = Some(Duration::from_micros(microseconds));
        let throttle = |option| options(&format!("{option}={value} a b")).throttle;
        assert_eq!(throttle("--max-fork-latency").fork_latency, time);
        assert_eq!(throttle("--max-wakeup-latency").wakeup_latency, time);
        assert_eq!(throttle("--max-write-latency").write_latency, time);
    }
    for (value, percent) in [("10", 10.0), ("10%", 10.0), ("0.5%", 0.5), ("100", 100.0)] {
        let line = format!("--max-pressure={value} a b");
        assert_eq!(options(&line).throttle.pressure, Some(percent), "{line}");
    }
    let patient = options("--give-up-after=48h --max-pressure=5 a b").throttle;
    assert_eq!(patient.give_up_after, Some(Duration::from_secs(172_800)));
    let twice = options("--limit-rate=1M --limit-rate=2M a b");
    assert_eq!(twice.throttle.rate, Some(2 << 20), "the last counts");
}

/// Digits of a number that no integer holds, and of one that no float holds either.
fn numbers_too_high() -> (String, String) {
    ("9".repeat(25), "9".repeat(400))
}

#[test]
fn rates_and_percentages_out_of_their_bounds_are_refused() {
    let (_, huge) = numbers_too_high();
    let rate = "bytes per second from 1K to 100G, such as 50M";
    for wrong in [
        "",
        "0",
        "1023",
        "0.9K",
        "-1M",
        "+1M",
        "101G",
        "1T",
        "20000000T",
        "x",
        "10X",
        "10 M",
        "1M/h",
        "1M/s/s",
        "1e9",
        "nan",
        "inf",
        "0x10M",
        &huge,
    ] {
        limit_refused("--limit-rate", wrong, rate);
    }
    for wrong in [
        "", "0", "0%", "0.0", "-1", "+1", "100.1", "101%", "%", "5%%", "5 %", "1e1", "nan", "inf",
        ".", &huge,
    ] {
        let takes = "a percentage from 0.01 to 100";
        limit_refused("--max-pressure", wrong, takes);
    }
}

#[test]
fn times_out_of_their_bounds_are_refused() {
    let (many, huge) = numbers_too_high();
    let time = "a time with a unit, from 1us to 1h, such as 5ms";
    for wrong in [
        "",
        "0",
        "0ms",
        "5",
        "5.0",
        "0.005",
        "-5ms",
        "999ns",
        "0.5us",
        "61min",
        "1day",
        "ms",
        "5xs",
        "5ms5",
        "inf",
        &huge,
        &format!("{many}ms"),
    ] {
        limit_refused("--max-fork-latency", wrong, time);
        limit_refused("--max-write-latency", wrong, time);
    }
    for wrong in [
        "",
        "0",
        "0s",
        "10",
        "1ns",
        "-1s",
        "1001h",
        "1year",
        "5m",
        &format!("{many}s"),
    ] {
        let takes = "a time with a unit, from 1us to 1000h, such as 30s";
        limit_refused("--give-up-after", wrong, takes);
    }
}

fn limit_refused(option: &str, wrong: &str, takes: &str) {
    let words = [option, wrong, "a", "b"].map(OsString::from);
    let options = resolve(words, &Environment::default()).options;
    let want = format!("invalid argument '{wrong}' for '{option}': it takes {takes}");
    assert_eq!(first_line(options, wrong), want);
}

#[test]
fn conflicting_options_are_refused() {
    for (line, want) in [
        (
            "--give-up-after=5s --limit-rate=1M a b",
            "--give-up-after can be used only with --max-fork-latency, --max-wakeup-latency, --max-write-latency or --max-pressure",
        ),
        ("-ls a b", "cannot make both hard and symbolic links"),
        (
            "-bn a b",
            "--backup is mutually exclusive with -n or --update=none-fail",
        ),
        (
            "-b --update=none a b",
            "--backup is mutually exclusive with -n or --update=none-fail",
        ),
        (
            "-b --update=none-fail a b",
            "--backup is mutually exclusive with -n or --update=none-fail",
        ),
        ("--update=n a b", "ambiguous argument 'n' for '--update'"),
        ("--update= a b", "ambiguous argument '' for '--update'"),
        (
            "--reflink --sparse=never a b",
            "--reflink can be used only with --sparse=auto",
        ),
        (
            "--atomic -l a b",
            "options --atomic and --link are mutually exclusive",
        ),
        (
            "--atomic -s a b",
            "options --atomic and --symbolic-link are mutually exclusive",
        ),
        (
            "--atomic --attributes-only a b",
            "options --atomic and --attributes-only are mutually exclusive",
        ),
    ] {
        assert_eq!(mistake(line), want, "{line}");
    }
    assert_eq!(
        options("-bni a b").overwrite,
        Overwrite::Ask,
        "-i took -n back"
    );
    assert!(options("--atomic -pb --fsync a b").durability.atomic);
}

#[test]
fn engines_that_other_options_forbid_are_refused() {
    for (line, want) in [
        (
            "--engine=mmap --direct=never a b",
            "cannot combine --engine=mmap and --direct=never",
        ),
        (
            "--engine=sendfile --direct=always a b",
            "cannot combine --engine=sendfile and --direct=always",
        ),
        (
            "--engine=splice --reflink a b",
            "cannot combine --engine=splice and --reflink=always",
        ),
    ] {
        assert_eq!(mistake(line), want, "{line}");
    }
    assert_eq!(
        mistake("--engine=reflink --reflink=never a b"),
        "cannot combine --engine=reflink and --reflink=never"
    );
    let both = options("--engine=reflink --reflink a b").transfer;
    assert_eq!(both.reflink, Reflink::Always);
}

#[test]
fn what_is_made_and_read() {
    assert_eq!(options("-l a b").copy_mode, CopyMode::HardLink);
    assert_eq!(options("-s a b").copy_mode, CopyMode::SymbolicLink);
    assert!(options("a b").copy_as_regular);
    assert!(!options("-r a b").copy_as_regular);
    assert!(options("-r --copy-contents a b").copy_as_regular);
    assert_eq!(options("--reflink a b").transfer.reflink, Reflink::Always);
    assert_eq!(
        options("--sparse=never a b").transfer.reflink,
        Reflink::Never
    );
}
