//! The governor: what others feel goes in, how fast and in what pieces to copy comes out.
//!
//! Each cause has a rate of its own; the lowest is ordered, and the others are kept within twice of it, so that none has
//! wound itself up by the time it is its turn.

mod latency;
mod meter;
mod pressure;
mod window;

use std::time::Duration;

use latency::Latency;
use meter::{Meter, Pace};
use pressure::Pressure;

use super::{Answer, Cause, Done, Holding, Limits, Orders, Word};

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Bytes a second that go on in any case.
const TRICKLE: f64 = super::TRICKLE as f64;

/// More than any memory does.
const FASTEST: f64 = 1e12;

/// Nobody was asked to decide for so long: the process was stopped.
const STOPPED: u64 = SECOND / 2;

/// How long the machine is listened to before the first byte, where the probers answer as they should.
const BASELINE: u64 = 400_000_000;

/// How long at most: silence is an answer, too.
const BASELINE_AT_MOST: u64 = 2 * SECOND;

/// What a chunk may take at the rate ordered, in seconds: no second has more than the rate, the bucket's burst and this.
const CHUNK_TAKES: f64 = 0.0125;

/// The smallest piece that is worth a call.
const LEAST: u64 = 4096;

/// The same where others' latency asks for small ones: below, the calls cost more than the smaller queue saves.
const LEAST_GOVERNED: u64 = 64 << 10;

/// Bytes a second at which the kernel goes through a chunk before it waits for the disk: what a fork may wait behind is
/// this, not the disk. With the disk's time in its place, three of 34 simulated machines were held to 60 % of their best
/// fixed rate by requests that were too small; the mean was 82 %, not 86.
const PINNED: f64 = 2e9;

/// Above, a larger call is no faster.
const MOST: u64 = 8 << 20;

/// Pure arithmetic: what it knows of time and of the machine comes in as values.
#[derive(Debug)]
pub struct Governor {
    limits: Limits,
    threads: u64,
    causes: Vec<Governed>,
    meter: Meter,
    /// The listening before the first byte, since when.
    listening: Option<u64>,
    now: u64,
    ordered: f64,
    words: Vec<Word>,
    gave_up: bool,
}

#[derive(Debug)]
enum Kind {
    Latency(Latency),
    Pressure(Pressure),
}

/// One cause, and since when it is missed at the trickle.
#[derive(Debug)]
struct Governed {
    cause: Cause,
    kind: Kind,
    missed_since: Option<u64>,
}

impl Governor {
    /// For a copy by `threads` threads; the probers ask every `fork_period` and `write_period` nanoseconds.
    #[must_use]
    pub fn new(
        limits: &Limits,
        (fork_period, write_period): (u64, u64),
        threads: usize,
        now: u64,
    ) -> Self {
        let latency = |cause, target: Option<_>, period| {
            target.map(|target| Kind::Latency(Latency::new(cause, target, period, now)))
        };
        let pressure = |cause| {
            let target = limits.pressure;
            target.map(|target| Kind::Pressure(Pressure::new(cause, target, now)))
        };
        let (fork, write) = (Cause::ForkLatency, Cause::WriteLatency);
        let (memory, io) = (Cause::MemoryPressure, Cause::IoPressure);
        let causes = [
            (fork, latency(fork, limits.fork_latency, fork_period)),
            (write, latency(write, limits.write_latency, write_period)),
            (memory, pressure(memory)),
            (io, pressure(io)),
        ];
        let causes = causes.into_iter().filter_map(|(cause, kind)| {
            kind.map(|kind| Governed {
                cause,
                kind,
                missed_since: None,
            })
        });
        let listens = limits.fork_latency.is_some() || limits.write_latency.is_some();
        Self {
            limits: *limits,
            threads: threads.max(1) as u64,
            causes: causes.collect(),
            meter: Meter::new(now),
            listening: listens.then_some(now),
            now,
            ordered: 0.0,
            words: Vec::new(),
            gave_up: false,
        }
    }

    /// A prober's answer.
    pub fn answer(&mut self, cause: Cause, answer: Answer) {
        if let Some(Kind::Latency(latency)) = self.kind(cause) {
            latency.answer(answer);
        }
    }

    /// What PSI says: microseconds in which some task waited, since boot.
    pub fn stalled(&mut self, cause: Cause, at: u64, total: u64) {
        if let Some(Kind::Pressure(pressure)) = self.kind(cause) {
            pressure.stalled(at, total);
        }
    }

    /// A prober has died: nobody knows what others feel until its successor answers.
    pub fn blind(&mut self, cause: Cause, now: u64) {
        if let Some(Kind::Latency(latency)) = self.kind(cause) {
            latency.blind(now);
        }
    }

    /// What to do from now on. To be asked at least every tenth of a second.
    pub fn decide(&mut self, now: u64, done: Done) -> Orders {
        // A clock that goes back stands still.
        let now = now.max(self.now);
        let passed = now - self.now;
        self.now = now;
        self.meter.note(now, done);
        if passed > STOPPED && self.listening.is_none() {
            self.resume();
        }
        let seconds = passed.min(SECOND / 10) as f64 / SECOND as f64;
        let pace = self.meter.pace(now, seconds, self.ordered);
        if self.listen() {
            return self.orders(0.0, &pace);
        }
        for governed in &mut self.causes {
            match &mut governed.kind {
                Kind::Latency(latency) => latency.decide(&pace),
                Kind::Pressure(pressure) => pressure.decide(&pace),
            }
        }
        let rate = self.combine();
        self.watch_patience();
        self.orders(rate, &pace)
    }

    fn kind(&mut self, cause: Cause) -> Option<&mut Kind> {
        let mut causes = self.causes.iter_mut();
        let found = causes.find(|governed| governed.cause == cause);
        found.map(|governed| &mut governed.kind)
    }

    fn resume(&mut self) {
        for governed in &mut self.causes {
            match &mut governed.kind {
                Kind::Latency(latency) => latency.resume(self.now),
                Kind::Pressure(pressure) => pressure.resume(self.now),
            }
        }
    }

    /// Before the first byte. Whether that lasts.
    fn listen(&mut self) -> bool {
        let Some(since) = self.listening else {
            return false;
        };
        let passed = self.now.saturating_sub(since);
        let mut heard = passed >= BASELINE;
        for governed in &mut self.causes {
            if let Kind::Latency(latency) = &mut governed.kind {
                heard &= latency.listen(answers_of_baseline(governed.cause).0);
            }
        }
        if !heard && passed < BASELINE_AT_MOST {
            return true;
        }
        self.listening = None;
        let rate = self.lowest();
        for governed in &mut self.causes {
            match &mut governed.kind {
                Kind::Latency(latency) => {
                    let part = answers_of_baseline(governed.cause).1;
                    let over = latency.baseline(part, self.now);
                    let over = over.map(|over| Holding { rate, ..over });
                    self.words.extend(over.map(Word::OverWithoutUs));
                }
                Kind::Pressure(pressure) => pressure.restart(self.now),
            }
        }
        false
    }

    /// The lowest rate of all. Who asks for more is kept within twice of it.
    fn combine(&mut self) -> f64 {
        let limit = self.limits.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let rates = self.causes.iter().map(Governed::rate);
        let lowest = rates.fold(limit, f64::min);
        for governed in &mut self.causes {
            let (Kind::Latency(Latency { rate, .. }) | Kind::Pressure(Pressure { rate, .. })) =
                &mut governed.kind;
            *rate = rate.min((2.0 * lowest).max(TRICKLE));
        }
        lowest
    }

    /// Bytes a second that go on in any case.
    fn lowest(&self) -> u64 {
        (TRICKLE as u64).min(self.limits.rate.unwrap_or(u64::MAX))
    }

    /// Gives up, once, where a target was missed at the trickle for too long.
    fn watch_patience(&mut self) {
        let Some(patience) = self.limits.give_up_after else {
            return;
        };
        let rate = self.lowest();
        for governed in &mut self.causes {
            let missed = governed.rate() <= TRICKLE && governed.missed(self.now, patience);
            if !missed {
                governed.missed_since = None;
                continue;
            }
            let since = *governed.missed_since.get_or_insert(self.now);
            let waited = u128::from(self.now.saturating_sub(since));
            if waited >= patience.as_nanos() && !self.gave_up {
                self.gave_up = true;
                let holding = governed.holding(self.now, rate);
                self.words.push(Word::GiveUp(holding));
            }
        }
    }

    fn orders(&mut self, rate: f64, pace: &Pace) -> Orders {
        self.ordered = rate;
        // Above 2^53 a rate as f64 may be more than the limit that it came from; infinity becomes u64::MAX.
        let bytes = (rate as u64).min(self.limits.rate.unwrap_or(u64::MAX));
        let word = (!self.words.is_empty()).then(|| self.words.remove(0));
        Orders {
            rate: bytes,
            chunk: self.chunk(rate),
            holding: self.holding(bytes, pace),
            word,
        }
    }

    /// The cause whose rate it is, where the copy really waits for it.
    fn holding(&self, rate: u64, pace: &Pace) -> Option<Holding> {
        if rate > 0 && !pace.held {
            return None;
        }
        let mut causes = self.causes.iter();
        // Before the first byte it is who is listened to, once there is a figure.
        let governed = causes.find(|governed| {
            if rate == 0 {
                governed.was_heard()
            } else {
                governed.rate() as u64 <= rate
            }
        });
        if governed.is_none() && rate == 0 {
            return None;
        }
        match (governed, self.limits.rate) {
            (Some(governed), _) => Some(governed.holding(self.now, rate)),
            (None, Some(limit)) => Some(Holding {
                cause: Cause::LimitRate,
                figure: pace.reached,
                target: limit as f64,
                rate,
            }),
            (None, None) => None,
        }
    }

    /// What is in flight is what a bystander waits behind: the pieces shrink with the rate and with the target.
    fn chunk(&self, rate: f64) -> usize {
        if !self.limits.any() {
            return usize::MAX;
        }
        let limit = self.limits.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let least = if self.limits.governed() {
            let smooth = self.piece(limit, CHUNK_TAKES).max(LEAST);
            LEAST_GOVERNED.min(smooth)
        } else {
            LEAST
        };
        let mut takes = CHUNK_TAKES;
        let mut most = MOST;
        for governed in &self.causes {
            match (&governed.kind, governed.cause) {
                (Kind::Latency(latency), Cause::WriteLatency) => {
                    takes = takes.min(latency.share_of_target());
                }
                (Kind::Latency(latency), _) => {
                    let bytes = power_of_two(PINNED * latency.share_of_target());
                    most = most.min(bytes.max(LEAST_GOVERNED));
                }
                (Kind::Pressure(_), _) => (),
            }
        }
        self.piece(rate, takes).clamp(least, MOST).min(most) as usize
    }

    /// The largest power of two that takes no longer than `seconds` when all threads have one in flight.
    fn piece(&self, rate: f64, seconds: f64) -> u64 {
        power_of_two(rate * seconds / self.threads as f64)
    }
}

impl Governed {
    fn rate(&self) -> f64 {
        match &self.kind {
            Kind::Latency(latency) => latency.rate,
            Kind::Pressure(pressure) => pressure.rate,
        }
    }

    fn missed(&self, now: u64, patience: Duration) -> bool {
        match &self.kind {
            Kind::Latency(latency) => latency.missed(now, patience),
            Kind::Pressure(pressure) => pressure.missed(now),
        }
    }

    fn was_heard(&self) -> bool {
        match &self.kind {
            Kind::Latency(latency) => latency.was_heard(),
            Kind::Pressure(_) => true,
        }
    }

    fn holding(&self, now: u64, rate: u64) -> Holding {
        match &self.kind {
            Kind::Latency(latency) => latency.holding(now, rate),
            Kind::Pressure(pressure) => pressure.holding(rate),
        }
    }
}

/// The largest that is not above.
fn power_of_two(bytes: f64) -> u64 {
    1 << (bytes as u64).max(1).ilog2()
}

/// How many answers make a baseline, and what part of them over the target makes it one that is over.
fn answers_of_baseline(cause: Cause) -> (usize, f64) {
    match cause {
        Cause::WriteLatency => (4, 0.5),
        _ => (16, 0.125),
    }
}
