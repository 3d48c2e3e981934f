//! A source that is truncated in mid-copy, at random moments: exit 1 and a sentence, never a signal, a hang or a false success.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Lab;
use super::program_run::{CopyOutcome, PORTABLE_ENGINES, copy_arguments, mmapcp};
use super::source_dump::{dense, write_dense};
use super::test_filesystem::{FsKind, Mount};
use crate::seeded_rng::scramble;

const TOOLS: [&str; 3] = ["losetup", "mount", "umount"];

/// Long enough to be hit: some 60 ms on a fast disk.
const SIZE: u64 = 128 << 20;

/// Enough to meet each engine; `MMAPCP_LAB_ROUNDS=200` for the figure the project promises.
const DEFAULT_ROUNDS: u64 = 12;

#[test]
fn a_truncated_source_is_an_error_onto_btrfs() {
    check_truncation(FsKind::Btrfs);
}

#[test]
fn a_truncated_source_is_an_error_onto_ext4() {
    check_truncation(FsKind::Ext4);
}

#[test]
fn a_truncated_source_is_an_error_onto_xfs() {
    check_truncation(FsKind::Xfs);
}

fn check_truncation(kind: FsKind) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 192) else {
        return;
    };
    let Some(disk) = lab.mount(kind, 512) else {
        return;
    };
    let seed = number("MMAPCP_LAB_SEED").unwrap_or_else(now);
    let rounds = number("MMAPCP_LAB_ROUNDS").unwrap_or(DEFAULT_ROUNDS);
    eprintln!("{kind:?}: {rounds} rounds, MMAPCP_LAB_SEED={seed}");
    let race = TruncationRace {
        memory: &memory,
        disk: &disk,
        file: source(&memory),
    };
    let spans = PORTABLE_ENGINES.map(|option| race.time_undisturbed(option));
    let mut hits = 0;
    let mut wrong = Vec::new();
    for round in 0..rounds {
        let turn = round as usize % PORTABLE_ENGINES.len();
        let random = scramble(seed.wrapping_add(round));
        let delay = spans[turn].mul_f64((random >> 40) as f64 / (1_u64 << 24) as f64);
        let cut = scramble(random) % SIZE;
        let outcome = race.run(PORTABLE_ENGINES[turn], delay, cut);
        match race.check_outcome(&outcome, cut) {
            Ok(hit) => hits += u64::from(hit),
            Err(why) => wrong.push(format!(
                "{} round {round} cut to {cut} after {delay:?}: {why}",
                PORTABLE_ENGINES[turn]
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    eprintln!("{kind:?}: {hits} of {rounds} truncations hit the copy");
    assert!(
        hits > 0 || rounds == 0,
        "no truncation hit a copy; spans {spans:?}"
    );
}

fn source(memory: &Mount) -> File {
    let path = memory.path("dump");
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(path)
        .expect("create the dump");
    write_dense(&file, 0..SIZE).expect("write the dump");
    file
}

/// One source and one destination; the copy and the truncation run against each other.
struct TruncationRace<'a> {
    disk: &'a Mount,
    file: File,
    memory: &'a Mount,
}

impl TruncationRace<'_> {
    /// How long a copy takes that nobody disturbs.
    fn time_undisturbed(&self, option: &str) -> Duration {
        let start = Instant::now();
        let outcome = mmapcp(&copy_arguments(
            &[option],
            self.memory.path("dump"),
            self.disk.path("copy"),
        ));
        let span = start.elapsed();
        assert_eq!(outcome.code, Some(0), "{option}: {outcome:?}");
        fs::remove_file(self.disk.path("copy")).expect("remove the copy");
        span
    }

    fn run(&self, option: &str, delay: Duration, cut: u64) -> CopyOutcome {
        let _ = fs::remove_file(self.disk.path("copy"));
        write_dense(&self.file, self.file.metadata().expect("stat").len()..SIZE)
            .expect("restore the dump");
        thread::scope(|scope| {
            let copier = scope.spawn(|| {
                mmapcp(&copy_arguments(
                    &[option],
                    self.memory.path("dump"),
                    self.disk.path("copy"),
                ))
            });
            thread::sleep(delay);
            self.file.set_len(cut).expect("truncate the dump");
            copier.join().expect("the copier's thread")
        })
    }

    /// Whether the truncation hit the copy.
    fn check_outcome(&self, outcome: &CopyOutcome, cut: u64) -> Result<bool, String> {
        let source = self.memory.path("dump");
        let seen = outcome.event("plan").and_then(|plan| plan["size"].as_u64());
        match outcome.code {
            Some(1) => {
                // A look in the middle of truncate(2) sees the new size and the old time; it is told as a change, too.
                let parts = [
                    source.display().to_string(),
                    seen.unwrap_or(SIZE).to_string(),
                    cut.to_string(),
                ];
                let silent = parts
                    .iter()
                    .find(|part| !outcome.stderr.contains(part.as_str()));
                silent.map_or(Ok(true), |part| {
                    Err(format!(
                        "the message does not hold {part}: {}",
                        outcome.stderr
                    ))
                })
            }
            Some(0) => {
                // It saw either the whole file or, truncated before it looked, the short one; never a mixture.
                let size = [SIZE, cut].into_iter().find(|size| seen == Some(*size));
                let size = size.ok_or_else(|| format!("planned {seen:?} bytes"))?;
                holds_dense(&self.disk.path("copy"), size)?;
                Ok(false)
            }
            _ => Err(format!("a signal, the watchdog's or another: {outcome:?}")),
        }
    }
}

/// Exit 0 means complete: the right size and every byte.
fn holds_dense(copy: &Path, size: u64) -> Result<(), String> {
    let mut file = File::open(copy).map_err(|why| why.to_string())?;
    let length = file.metadata().map_err(|why| why.to_string())?.len();
    if length != size {
        return Err(format!("exit 0 with {length} bytes of {size}"));
    }
    let mut found = Vec::new();
    for expected in dense(0..size) {
        found.resize(expected.len(), 0);
        file.read_exact(&mut found).map_err(|why| why.to_string())?;
        if found != expected {
            return Err("exit 0 with other bytes than the source had".into());
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|value| value.parse().ok())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
