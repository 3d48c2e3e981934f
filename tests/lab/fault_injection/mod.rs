//! Faults in system calls: every call that a copy makes fails, or does less than it was asked for, once or from then on.
//!
//! `MMAPCP_FAULTS=N` makes N calls fail; without it, as in CI, there are [`HITS`]. `MMAPCP_FAULTS_SEED=S` chooses others,
//! and `MMAPCP_FAULTS_ONLY=CASE` repeats the one case that a failure named, with the same seed.
//!
//! The start of the program and messages on its standard descriptors are left alone, and so are the calls by which the
//! runtime manages memory, locks, clocks and signals: see [`calls::name`].

mod fault_outcomes;
mod fault_scenario;
mod fault_tracer;
mod syscall_table;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::errno::Errno;

use super::Lab;
use super::test_filesystem::FsKind;
use crate::seeded_rng::SeededRng;
use fault_scenario::{FaultScenario, ScenarioFiles};
use fault_tracer::{FaultEffect, FaultTrace, FaultTrigger, Injection, TraceeEnd};

/// Hits of a run in which nobody asks for more: 20 s on two cores, in a debug build.
const DEFAULT_HITS: u64 = 500;

/// The cases of a run in which nobody asks for others, so that a change is to blame for what fails.
const DEFAULT_SEED: u64 = 20_261_130;

/// The highest moment at which a call is hit. No call of these scenes but fcntl and close comes as often.
const MAX_CALL_INDEX: u64 = 40;

/// Failed cases that are shown in full.
const MAX_SHOWN_FAILURES: usize = 40;

/// Errors that mean that bytes did not reach the device, whatever else a file system says by them.
const DATA_LOSS_ERRNOS: [Errno; 3] = [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT];

#[test]
fn no_fault_makes_a_copy_lie() {
    if !fault_tracer::may_trace_or_skip("no_fault_makes_a_copy_lie") {
        return;
    }
    let hits = number("MMAPCP_FAULTS").unwrap_or(DEFAULT_HITS);
    let seed = number("MMAPCP_FAULTS_SEED").unwrap_or(DEFAULT_SEED);
    let sharing = Lab::acquire_or_skip(&["mkfs.xfs", "mount", "umount", "losetup"])
        .and_then(|lab| lab.mount(FsKind::Xfs, 512).map(|mount| (mount, lab)));
    let place = sharing.as_ref().map(|(mount, _)| mount.dir.as_path());
    let play = FaultRun {
        scenes: fault_scenario::all_scenarios(place.is_some()),
        seed,
        wanted_hits: hits,
        next_case: AtomicU64::new(0),
        tally: Mutex::default(),
    };
    if let Some(only) = number("MMAPCP_FAULTS_ONLY") {
        let mut actor = FaultWorker::new(&play, place);
        println!("{:#?}", actor.run_numbered_case(only));
        return;
    }
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| FaultWorker::new(&play, place).run_cases());
        }
    });
    let score = play.tally.into_inner().unwrap();
    println!("{}", score.table());
    assert!(
        score.failures.is_empty(),
        "seed {seed}: {}",
        score.summary()
    );
}

fn number(knob: &str) -> Option<u64> {
    let value = env::var(knob).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{knob}={value} is no number")),
    )
}

/// What the threads of a run share.
struct FaultRun {
    scenes: Vec<FaultScenario>,
    seed: u64,
    wanted_hits: u64,
    next_case: AtomicU64,
    tally: Mutex<FaultTally>,
}

/// What happened so far.
#[derive(Default)]
struct FaultTally {
    /// Cases in which at least one call was hit.
    hits: u64,
    /// Cases in which the call did not come this time.
    misses: u64,
    by_call: BTreeMap<&'static str, [u64; 2]>,
    by_engine: BTreeMap<&'static str, u64>,
    by_variant: BTreeMap<String, u64>,
    by_effect: BTreeMap<String, u64>,
    failures: Vec<String>,
}

impl FaultTally {
    fn table(&self) -> String {
        let calls = self.by_call.iter().map(|(call, [good, bad])| {
            format!(
                "  {call}: {} hits, {good} copies whole, {bad} failed\n",
                good + bad
            )
        });
        format!(
            "{} hits, {} misses, {} wrong\n{}by engine: {:?}\nby manner: {:?}\nby effect: {:?}",
            self.hits,
            self.misses,
            self.failures.len(),
            calls.collect::<String>(),
            self.by_engine,
            self.by_variant,
            self.by_effect,
        )
    }

    fn summary(&self) -> String {
        let shown = self.failures.iter().take(MAX_SHOWN_FAILURES).cloned();
        format!(
            "{} wrong\n{}",
            self.failures.len(),
            shown.collect::<Vec<_>>().join("\n")
        )
    }
}

/// One thread with its own files.
struct FaultWorker<'a> {
    play: &'a FaultRun,
    stage: ScenarioFiles,
    /// The calls of each scene when nothing is hit.
    undisturbed: HashMap<usize, Vec<(&'static str, u32)>>,
}

/// A case that was played.
#[derive(Debug)]
struct FaultCase {
    scene: FaultScenario,
    injection: Injection,
    trace: FaultTrace,
    verdict: Result<(), String>,
}

impl<'a> FaultWorker<'a> {
    fn new(play: &'a FaultRun, sharing: Option<&Path>) -> Self {
        Self {
            play,
            stage: ScenarioFiles::new(sharing),
            undisturbed: HashMap::new(),
        }
    }

    /// Plays cases until there were enough hits.
    fn run_cases(&mut self) {
        // A run whose calls never come must end as well.
        while self.play.next_case.load(Ordering::Relaxed) < 3 * self.play.wanted_hits {
            let number = self.play.next_case.fetch_add(1, Ordering::Relaxed);
            let case = self.run_numbered_case(number);
            let mut score = self.play.tally.lock().unwrap();
            if score.hits >= self.play.wanted_hits {
                return;
            }
            count_case(&mut score, number, &case);
        }
    }

    /// The case of this number: the same for the same seed.
    fn run_numbered_case(&mut self, number: u64) -> FaultCase {
        let mut dice = SeededRng(self.play.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let at = dice.below(self.play.scenes.len() as u64) as usize;
        let scene = self.play.scenes[at];
        let calls = self.undisturbed_calls(at, scene);
        let (call, count) = calls[dice.below(calls.len() as u64) as usize];
        let n = 1 + dice.below(u64::from(count).min(MAX_CALL_INDEX)) as u32;
        let effect = choose_effect(call, &mut dice);
        // A signal that interrupts every call for ever, and a call for ever without progress, are no single faults.
        let passing = matches!(effect, FaultEffect::Fail(Errno::EINTR | Errno::EAGAIN));
        let moment = if !passing && dice.below(3) == 0 {
            FaultTrigger::From(n)
        } else {
            FaultTrigger::Once(n)
        };
        self.run_case(
            scene,
            Injection {
                calls: vec![call],
                trigger: moment,
                effect,
            },
        )
    }

    fn run_case(&self, scene: FaultScenario, injection: Injection) -> FaultCase {
        self.stage.prepare(scene);
        let trace = self.run(scene, Some(&injection));
        let verdict = self.stage.check_outcome(scene, &trace);
        let verdict = verdict.and_then(|()| check_losses_reported(scene, &injection, &trace));
        FaultCase {
            scene,
            injection,
            trace,
            verdict,
        }
    }

    fn run(&self, scene: FaultScenario, injection: Option<&Injection>) -> FaultTrace {
        let (words, roots) = (self.stage.command_line(scene), self.stage.roots());
        fault_tracer::run_traced(&words, self.stage.input(scene), &roots, injection)
    }

    /// The calls of a scene, and how often each comes, when nothing is hit. Such a copy must be good.
    fn undisturbed_calls(&mut self, at: usize, scene: FaultScenario) -> Vec<(&'static str, u32)> {
        if let Some(known) = self.undisturbed.get(&at) {
            return known.clone();
        }
        self.stage.prepare(scene);
        let trace = self.run(scene, None);
        let verdict = self.stage.check_outcome(scene, &trace);
        assert!(
            verdict.is_ok() && trace.end == TraceeEnd::Exited(0),
            "{scene:?}: {verdict:?}, {trace:?}"
        );
        let calls: Vec<_> = trace.calls.into_iter().collect();
        self.undisturbed.insert(at, calls.clone());
        calls
    }
}

/// An error by which the device says that bytes are lost must not end in exit 0.
fn check_losses_reported(
    scene: FaultScenario,
    injection: &Injection,
    trace: &FaultTrace,
) -> Result<(), String> {
    let FaultEffect::Fail(errno) = injection.effect else {
        return Ok(());
    };
    let waits = |call: &&str| match *call {
        "fdatasync" | "sync_file_range(wait)" => true,
        "fsync" | "syncfs" => scene.variant.is_durable(),
        _ => false,
    };
    let lost = DATA_LOSS_ERRNOS.contains(&errno) && injection.calls.iter().any(waits);
    if lost && trace.hits > 0 && trace.end == TraceeEnd::Exited(0) {
        return Err("the device lost bytes, and the exit status is 0".into());
    }
    Ok(())
}

/// One thing that can happen to a call.
fn choose_effect(call: &str, dice: &mut SeededRng) -> FaultEffect {
    if syscall_table::moves_bytes(call) && dice.below(3) == 0 {
        return match dice.below(3) {
            // Nothing read from a stream is its end: there is nothing to tell it from.
            0 if call != "read" => FaultEffect::Zero,
            0 | 1 => FaultEffect::Half,
            _ => FaultEffect::Odd,
        };
    }
    let errnos = syscall_table::errnos(call);
    match errnos[dice.below(errnos.len() as u64) as usize] {
        // glibc takes it for the end of a directory that was removed, and no program gets to know of it.
        Errno::ENOENT if call == "getdents64" => FaultEffect::Fail(Errno::EIO),
        errno => FaultEffect::Fail(errno),
    }
}

fn count_case(score: &mut FaultTally, number: u64, case: &FaultCase) {
    if let Err(why) = &case.verdict {
        let (scene, injection) = (case.scene, &case.injection);
        let said = case.trace.stderr.trim_end();
        score.failures.push(format!(
            "case {number}: {why}: {scene:?} {injection:?} {:?} {said}",
            case.trace.end
        ));
    }
    if case.trace.hits == 0 {
        score.misses += 1;
        return;
    }
    score.hits += 1;
    let failed = usize::from(case.trace.end != TraceeEnd::Exited(0));
    for call in &case.injection.calls {
        score.by_call.entry(call).or_default()[failed] += 1;
    }
    *score.by_engine.entry(case.scene.engine).or_default() += 1;
    *score
        .by_variant
        .entry(format!("{:?}", case.scene.variant))
        .or_default() += 1;
    let effect = format!("{:?}", case.injection.effect);
    *score.by_effect.entry(effect).or_default() += 1;
}
