//! Faults in system calls: every call that a copy makes fails, or does less than it was asked for, once or from then on.
//!
//! `MMAPCP_FAULTS=N` makes N calls fail; without it, as in CI, there are [`HITS`]. `MMAPCP_FAULTS_SEED=S` chooses others,
//! and `MMAPCP_FAULTS_ONLY=CASE` repeats the one case that a failure named, with the same seed.
//!
//! The start of the program and messages on its standard descriptors are left alone, and so are the calls by which the
//! runtime manages memory, locks, clocks and signals: see [`calls::name`].

mod calls;
mod refused;
mod scene;
mod tracer;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::errno::Errno;

use super::Lab;
use super::image::Kind;
use scene::{Scene, Stage};
use tracer::{Effect, End, Injection, Moment, Trace};

/// Hits of a run in which nobody asks for more: 20 s on two cores, in a debug build.
const HITS: u64 = 500;

/// The cases of a run in which nobody asks for others, so that a change is to blame for what fails.
const SEED: u64 = 20_261_130;

/// The highest moment at which a call is hit. No call of these scenes but fcntl and close comes as often.
const MAX_MOMENT: u64 = 40;

/// Failed cases that are shown in full.
const SHOWN: usize = 40;

/// Errors that mean that bytes did not reach the device, whatever else a file system says by them.
const LOSSES: [Errno; 3] = [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT];

#[test]
fn no_fault_makes_a_copy_lie() {
    if !tracer::may_trace_or_skip("no_fault_makes_a_copy_lie") {
        return;
    }
    let hits = number("MMAPCP_FAULTS").unwrap_or(HITS);
    let seed = number("MMAPCP_FAULTS_SEED").unwrap_or(SEED);
    let sharing = Lab::enter(&["mkfs.xfs", "mount", "umount", "losetup"])
        .and_then(|lab| lab.mount(Kind::Xfs, 512).map(|mount| (mount, lab)));
    let place = sharing.as_ref().map(|(mount, _)| mount.dir.as_path());
    let play = Play {
        scenes: scene::all(place.is_some()),
        seed,
        wanted: hits,
        next: AtomicU64::new(0),
        score: Mutex::default(),
    };
    if let Some(only) = number("MMAPCP_FAULTS_ONLY") {
        let mut actor = Actor::new(&play, place);
        println!("{:#?}", actor.case(only));
        return;
    }
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| Actor::new(&play, place).all());
        }
    });
    let score = play.score.into_inner().unwrap();
    println!("{}", score.table());
    assert!(score.failures.is_empty(), "seed {seed}: {}", score.told());
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
struct Play {
    scenes: Vec<Scene>,
    seed: u64,
    wanted: u64,
    next: AtomicU64,
    score: Mutex<Score>,
}

/// What happened so far.
#[derive(Default)]
struct Score {
    /// Cases in which at least one call was hit.
    hits: u64,
    /// Cases in which the call did not come this time.
    misses: u64,
    by_call: BTreeMap<&'static str, [u64; 2]>,
    by_engine: BTreeMap<&'static str, u64>,
    by_manner: BTreeMap<String, u64>,
    by_effect: BTreeMap<String, u64>,
    failures: Vec<String>,
}

impl Score {
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
            self.by_manner,
            self.by_effect,
        )
    }

    fn told(&self) -> String {
        let shown = self.failures.iter().take(SHOWN).cloned();
        format!(
            "{} wrong\n{}",
            self.failures.len(),
            shown.collect::<Vec<_>>().join("\n")
        )
    }
}

/// One thread with its own files.
struct Actor<'a> {
    play: &'a Play,
    stage: Stage,
    /// The calls of each scene when nothing is hit.
    undisturbed: HashMap<usize, Vec<(&'static str, u32)>>,
}

/// A case that was played.
#[derive(Debug)]
struct Case {
    scene: Scene,
    injection: Injection,
    trace: Trace,
    verdict: Result<(), String>,
}

impl<'a> Actor<'a> {
    fn new(play: &'a Play, sharing: Option<&Path>) -> Self {
        Self {
            play,
            stage: Stage::new(sharing),
            undisturbed: HashMap::new(),
        }
    }

    /// Plays cases until there were enough hits.
    fn all(&mut self) {
        // A run whose calls never come must end as well.
        while self.play.next.load(Ordering::Relaxed) < 3 * self.play.wanted {
            let number = self.play.next.fetch_add(1, Ordering::Relaxed);
            let case = self.case(number);
            let mut score = self.play.score.lock().unwrap();
            if score.hits >= self.play.wanted {
                return;
            }
            note(&mut score, number, &case);
        }
    }

    /// The case of this number: the same for the same seed.
    fn case(&mut self, number: u64) -> Case {
        let mut dice = Dice(self.play.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let at = dice.below(self.play.scenes.len() as u64) as usize;
        let scene = self.play.scenes[at];
        let calls = self.calls(at, scene);
        let (call, count) = calls[dice.below(calls.len() as u64) as usize];
        let n = 1 + dice.below(u64::from(count).min(MAX_MOMENT)) as u32;
        let effect = effect(call, &mut dice);
        // A signal that interrupts every call for ever, and a call for ever without progress, are no single faults.
        let passing = matches!(effect, Effect::Fail(Errno::EINTR | Errno::EAGAIN));
        let moment = if !passing && dice.below(3) == 0 {
            Moment::From(n)
        } else {
            Moment::Once(n)
        };
        self.play(
            scene,
            Injection {
                calls: vec![call],
                moment,
                effect,
            },
        )
    }

    fn play(&self, scene: Scene, injection: Injection) -> Case {
        self.stage.prepare(scene);
        let trace = self.run(scene, Some(&injection));
        let verdict = self.stage.judge(scene, &trace);
        let verdict = verdict.and_then(|()| tells_losses(scene, &injection, &trace));
        Case {
            scene,
            injection,
            trace,
            verdict,
        }
    }

    fn run(&self, scene: Scene, injection: Option<&Injection>) -> Trace {
        let (words, roots) = (self.stage.words(scene), self.stage.roots());
        tracer::run(&words, self.stage.input(scene), &roots, injection)
    }

    /// The calls of a scene, and how often each comes, when nothing is hit. Such a copy must be good.
    fn calls(&mut self, at: usize, scene: Scene) -> Vec<(&'static str, u32)> {
        if let Some(known) = self.undisturbed.get(&at) {
            return known.clone();
        }
        self.stage.prepare(scene);
        let trace = self.run(scene, None);
        let verdict = self.stage.judge(scene, &trace);
        assert!(
            verdict.is_ok() && trace.end == End::Exited(0),
            "{scene:?}: {verdict:?}, {trace:?}"
        );
        let calls: Vec<_> = trace.calls.into_iter().collect();
        self.undisturbed.insert(at, calls.clone());
        calls
    }
}

/// An error by which the device says that bytes are lost must not end in exit 0.
fn tells_losses(scene: Scene, injection: &Injection, trace: &Trace) -> Result<(), String> {
    let Effect::Fail(errno) = injection.effect else {
        return Ok(());
    };
    let waits = |call: &&str| match *call {
        "fdatasync" | "sync_file_range(wait)" => true,
        "fsync" | "syncfs" => scene.manner.is_durable(),
        _ => false,
    };
    let lost = LOSSES.contains(&errno) && injection.calls.iter().any(waits);
    if lost && trace.hits > 0 && trace.end == End::Exited(0) {
        return Err("the device lost bytes, and the exit status is 0".into());
    }
    Ok(())
}

/// One thing that can happen to a call.
fn effect(call: &str, dice: &mut Dice) -> Effect {
    if calls::moves_bytes(call) && dice.below(3) == 0 {
        return match dice.below(3) {
            // Nothing read from a stream is its end: there is nothing to tell it from.
            0 if call != "read" => Effect::Zero,
            0 | 1 => Effect::Half,
            _ => Effect::Odd,
        };
    }
    let errnos = calls::errnos(call);
    match errnos[dice.below(errnos.len() as u64) as usize] {
        // glibc takes it for the end of a directory that was removed, and no program gets to know of it.
        Errno::ENOENT if call == "getdents64" => Effect::Fail(Errno::EIO),
        errno => Effect::Fail(errno),
    }
}

fn note(score: &mut Score, number: u64, case: &Case) {
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
    let failed = usize::from(case.trace.end != End::Exited(0));
    for call in &case.injection.calls {
        score.by_call.entry(call).or_default()[failed] += 1;
    }
    *score.by_engine.entry(case.scene.engine).or_default() += 1;
    *score
        .by_manner
        .entry(format!("{:?}", case.scene.manner))
        .or_default() += 1;
    let effect = format!("{:?}", case.injection.effect);
    *score.by_effect.entry(effect).or_default() += 1;
}

/// splitmix64, which gives the same numbers on every machine.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
