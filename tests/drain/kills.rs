//! Kills at any moment, each of which a second run makes good.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use super::fixture::{DrainFixture, names_in};
use crate::seeded_rng::SeededRng;
use crate::support::*;

/// How many runs are killed; an experiment asks for more.
fn kills() -> u64 {
    let asked = std::env::var("MMAPCP_KILLS").ok();
    asked.map_or(24, |text| text.parse().expect("a number in MMAPCP_KILLS"))
}

/// Bytes of the sources, for an experiment with more of them.
pub(crate) fn size() -> u64 {
    let asked = std::env::var("MMAPCP_DRAIN_MIB").ok();
    let mib = asked.map_or(160, |text| text.parse().expect("a number of MiB"));
    mib * MIB + 4099
}

#[test]
fn killed_at_any_moment_a_drain_is_completed() {
    let (size, dir) = (size(), shm_dir());
    let sparse = [
        (0, size / 4),
        (size / 2 / MIB * MIB, 20 * MIB),
        (size - 9 * MIB, 9 * MIB),
    ];
    check_kills(dir.path(), size, &[&[], &sparse]);
}

/// Kills drains of sources in a directory, with these extents in turn, and completes them.
pub(crate) fn check_kills(dir: &Path, size: u64, kinds: &[&[(u64, u64)]]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = now.as_nanos() as u64;
    let mut dice = SeededRng(seed);
    let options: [&[&str]; 4] = [&[], &["--verify"], &["-p"], &["--checksum"]];
    let (mut usual, mut freed, mut whole) = (1_000_000, 0, 0);
    for n in 0..kills() {
        let extents = kinds[(n as usize) % kinds.len()];
        let options = options[(n as usize / kinds.len()) % options.len()];
        let context = format!("kill {n} of seed {seed}: {options:?}, {extents:?}");
        let drain = DrainFixture::at(dir);
        drain.fill(size, extents);
        let all = allocated_bytes(&drain.source());
        let mut runs = 0;
        loop {
            runs += 1;
            let started = Instant::now();
            let running = Running::start(&mut drain.command(options));
            // The first drain runs to its end, to learn how long it takes; some are killed twice.
            let is_last = n == 0 || runs > 1 && dice.below(3) > 0;
            if !is_last {
                sleep(Duration::from_micros(dice.below(usual * 5 / 4)));
                running.signal(Signal::SIGKILL);
            }
            let output = running.finish();
            drain.assert_whole(&context);
            if drain.source().exists() {
                wait_until_closed(&drain.source());
            }
            if is_last {
                // A run that was killed when it had removed the source has left nothing to do, or its state.
                assert_exit_in(&output, 0, &context);
                if runs == 1 {
                    usual = started.elapsed().as_micros() as u64;
                }
                break;
            }
            match fs::symlink_metadata(drain.source()) {
                Ok(_) => freed += u64::from(allocated_bytes(&drain.source()) < all),
                Err(_) if names_in(&drain.dest()) == ["copy"] => {
                    whole += 1;
                    break;
                }
                Err(_) => {}
            }
        }
        drain.assert_complete(&context);
    }
    eprintln!(
        "{} kills: {freed} had freed memory, {whole} came after the end",
        kills()
    );
}
