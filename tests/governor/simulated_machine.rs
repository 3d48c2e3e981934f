//! A simulated machine: a disk with a queue, a memory with a watermark, a copier with its bucket, and bystanders. Its clock
//! is virtual, its dice are seeded: the same machine does the same each time.

use std::ops::Range;
use std::time::Duration;

use crate::seeded_rng::SeededRng;
use mmapcp::sys::clock::MonotonicNs;
use mmapcp::transfer::rate_limit::{
    CallSpan, CallSummary, Cause, CopyTotals, Governor, LatencySample, Limits, Notice, Rate,
    RateSettings, RemainingWork, Sample, StallSample, TokenBucket, Wait,
};

pub(crate) const NANOS_PER_MS: u64 = 1_000_000;
pub(crate) const NANOS_PER_SECOND: u64 = 1000 * NANOS_PER_MS;

/// How often the governor is asked, and how often PSI is read.
const GOVERNOR_INTERVAL: u64 = 20 * NANOS_PER_MS;
const PSI_INTERVAL: u64 = 100 * NANOS_PER_MS;

pub(crate) const FORK_PERIOD: u64 = 25 * NANOS_PER_MS;
pub(crate) const WRITE_PERIOD: u64 = 40 * NANOS_PER_MS;

/// How often, on average, the bystander writes who is no prober of the governor.
const BYSTANDER_PERIOD: u64 = 50 * NANOS_PER_MS;

/// Bytes a second of a disk behind a limit, and its nanoseconds for a request.
const UNLIMITED_DISK: f64 = 1e9;

/// Returns a moment of the simulated clock.
pub(crate) fn moment(nanoseconds: u64) -> MonotonicNs {
    MonotonicNs::from_nanos(nanoseconds)
}

/// Returns the bytes per second of a rate, `u64::MAX` where it is not limited.
pub(crate) fn per_second(rate: Rate) -> u64 {
    rate.bytes_per_sec().unwrap_or(u64::MAX)
}

/// The time between two samples of a latency.
pub(crate) fn sample_period(cause: Cause) -> Duration {
    Duration::from_nanos(match cause {
        Cause::ForkLatency => FORK_PERIOD,
        _ => WRITE_PERIOD,
    })
}

/// What a copy through the page cache does to memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cached {
    /// Dirty bytes above which others reclaim.
    pub(crate) watermark: f64,
    /// Nanoseconds that this takes them.
    pub(crate) reclaim: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct SimulatedMachine {
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    /// Bytes a second, of the disk and of each thread's source.
    pub(crate) disk: f64,
    pub(crate) source: f64,
    /// Nanoseconds of each request.
    pub(crate) request: f64,
    /// The disk is held to its rate by a limit that gives each slice of so many nanoseconds its bytes at once, as
    /// blk-throttle does: there is no queue until they are used up, and then everybody waits for the next slice.
    pub(crate) slice: Option<u64>,
    /// Now and then the disk stands still, as an SSD does that collects garbage: seconds from one time to the next on average,
    /// and the nanoseconds that it lasts.
    pub(crate) freezes: Option<(f64, u64)>,
    /// Bytes that go at the disk's rate, as on a volume in a cloud, and the rate that is left when they are used up.
    pub(crate) credit: Option<(f64, f64)>,
    /// Whether somebody writes whom the governor does not ask.
    pub(crate) has_bystander: bool,
    /// Requests of a bystander's write with fdatasync, one after the other.
    pub(crate) writes: u32,
    /// Nanoseconds of a fork alone, and what is added when all threads run at full speed.
    pub(crate) fork: f64,
    pub(crate) contention: f64,
    pub(crate) cached: Option<Cached>,
    /// The part of the answers that something else delays, and by how many nanoseconds at most.
    pub(crate) noise: f64,
    pub(crate) spike: f64,
    /// From when on others take which part of the machine.
    pub(crate) load: Vec<(u64, f64)>,
    /// While the copier is stopped; nobody is asked to decide.
    pub(crate) stop: Option<Range<u64>>,
    /// While the fork prober does not answer; whether that is told.
    pub(crate) silence: Option<(Range<u64>, bool)>,
}

impl SimulatedMachine {
    /// A quiet one, for a test to change.
    pub(crate) fn quiet(seed: u64) -> Self {
        Self {
            seed,
            threads: 2,
            disk: 1e9,
            source: 4e9,
            request: 50_000.0,
            slice: None,
            freezes: None,
            credit: None,
            has_bystander: false,
            writes: 3,
            fork: 0.5e6,
            contention: 20e6,
            cached: None,
            noise: 0.0,
            spike: 0.0,
            load: Vec::new(),
            stop: None,
            silence: None,
        }
    }

    /// Any, with targets that someone might set on it.
    pub(crate) fn random(seed: u64) -> (Self, Limits) {
        let mut dice = SeededRng(seed);
        let disk = dice.log_uniform(5e6, 5e9);
        let slowest_request = if disk < 2e8 { 4e6 } else { 2e5 };
        let mut machine = Self {
            seed,
            threads: 1 + (dice.unit_f64() * 4.0) as usize,
            disk,
            source: dice.log_uniform(1e9, 1e10),
            request: dice.log_uniform(2e4, slowest_request),
            writes: 1 + (dice.unit_f64() * 4.0) as u32,
            fork: dice.log_uniform(0.3e6, 3e6),
            contention: dice.log_uniform(0.1e6, 40e6),
            ..Self::quiet(seed)
        };
        if dice.chance(0.25) {
            machine.cached = Some(Cached {
                // The kernel shares the dirty bytes out by the speed of a disk.
                watermark: machine.disk * dice.log_uniform(0.05, 0.5),
                reclaim: dice.log_uniform(5e6, 100e6),
            });
        }
        if dice.chance(0.5) {
            machine.noise = dice.log_uniform(1e-4, 5e-3);
            machine.spike = dice.log_uniform(5e6, 100e6);
        }
        if dice.chance(0.5) {
            let mut at = 0;
            while at < 60 * NANOS_PER_SECOND {
                machine.load.push((at, dice.between(0.0, 0.7)));
                at += dice.between(3e9, 12e9) as u64;
            }
        }
        let limits = machine.targets(&mut dice);
        (machine, limits)
    }

    fn targets(&self, dice: &mut SeededRng) -> Limits {
        let time = |ns: f64| std::time::Duration::from_nanos(ns as u64);
        let mut limits = Limits::default();
        if dice.chance(0.6) {
            limits.fork_latency = Some(time(dice.log_uniform(2e6, 50e6)));
        }
        if dice.chance(0.5) || limits.fork_latency.is_none() {
            limits.write_latency = Some(time(dice.log_uniform(10e6, 200e6)));
        }
        if dice.chance(0.25) {
            limits.pressure = Some(dice.log_uniform(2.0, 60.0));
        }
        if dice.chance(0.15) {
            limits.rate = Some(dice.log_uniform(1e6, 1e10) as u64);
        }
        limits
    }

    /// Copies so many bytes under these limits, until `until` at most. Returns when they were copied, too.
    pub(crate) fn simulate_file(
        &self,
        limits: &Limits,
        bytes: u64,
        until: u64,
    ) -> (SimulationLog, Option<u64>) {
        let mut run = Simulation::new(self, limits);
        run.bytes = Some(bytes);
        loop {
            let at = run.step();
            if run.done.moved >= bytes {
                return (run.record, Some(at));
            }
            if at > until {
                return (run.record, None);
            }
        }
    }

    /// Copies under these limits until `until`.
    pub(crate) fn simulate_copy(&self, limits: &Limits, until: u64) -> SimulationLog {
        let mut run = Simulation::new(self, limits);
        while run.step() <= until {}
        run.record
    }
}

/// Orders that are remembered: the last 80 seconds at least, of hours that would not fit.
const MAX_REMEMBERED_SETTINGS: usize = 8192;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct SimulationLog {
    /// Intended moment, latency, and the rate ordered at that moment.
    pub(crate) forks: Vec<(u64, u64, u64)>,
    pub(crate) writes: Vec<(u64, u64, u64)>,
    /// The same of the bystander, whom the governor does not see.
    pub(crate) bystander: Vec<(u64, u64, u64)>,
    /// Bytes moved in each second.
    pub(crate) seconds: Vec<f64>,
    /// Nanoseconds in which tasks have waited for io, and for memory, by the end of each second.
    pub(crate) io: Vec<f64>,
    pub(crate) memory: Vec<f64>,
    pub(crate) rate_settings: Vec<(u64, RateSettings)>,
    pub(crate) notices: Vec<(u64, Notice)>,
}

impl SimulationLog {
    fn remember(&mut self, at: u64, orders: RateSettings) {
        if self.rate_settings.len() == MAX_REMEMBERED_SETTINGS {
            self.rate_settings.drain(..MAX_REMEMBERED_SETTINGS / 2);
        }
        self.rate_settings.push((at, orders));
    }

    /// Bytes a second.
    pub(crate) fn rate(&self, seconds: Range<usize>) -> f64 {
        let count = seconds.len() as f64;
        self.seconds[seconds].iter().sum::<f64>() / count
    }

    /// Percent of a second in which tasks waited, for io or for memory, whichever was more.
    pub(crate) fn pressure(&self, second: usize) -> f64 {
        let of = |sums: &[f64]| (sums[second] - sums[second - 1]) * 100.0 / NANOS_PER_SECOND as f64;
        of(&self.io).max(of(&self.memory))
    }

    /// The rate ordered at a moment.
    pub(crate) fn rate_at(&self, at: u64) -> u64 {
        let index = self.rate_settings.partition_point(|(when, _)| *when <= at);
        per_second(self.rate_settings[index.saturating_sub(1)].1.rate)
    }
}

/// The part of the moments from `from` on that waited longer than `target`, and were asked above the trickle.
pub(crate) fn fraction_above(
    moments: &[(u64, u64, u64)],
    from: u64,
    target: u64,
    above: u64,
) -> f64 {
    let asked = moments.iter().filter(|(at, ..)| *at >= from);
    let over = |(_, latency, rate): &&(u64, u64, u64)| *latency > target && *rate > above;
    asked.clone().filter(over).count() as f64 / asked.count().max(1) as f64
}

#[derive(Debug)]
struct SimulatedProber {
    period: u64,
    /// The start of the period in which it asks next, and when it does.
    slot: u64,
    next: u64,
    /// When it can ask again, or when its request is back.
    ready: u64,
    /// The question under way: first moment, how many, requests left.
    asked: Option<(u64, u64, u32)>,
}

impl SimulatedProber {
    fn new(period: u64) -> Self {
        Self {
            period,
            slot: 0,
            next: period / 3,
            ready: period / 3,
            asked: None,
        }
    }

    /// The question that is due at `at`: its first moment, and how many moments have come.
    fn take_due(&self, at: u64) -> (u64, u64) {
        (self.next, 1 + (at - self.next) / self.period)
    }

    /// Goes on behind `count` moments, at a random moment of the next period.
    fn advance(&mut self, count: u64, dice: &mut SeededRng) {
        self.slot += count * self.period;
        self.next = self.slot + dice.below(self.period);
    }
}

#[derive(Debug, Clone, Copy)]
struct SimulatedCopier {
    ready: u64,
    /// When the call began that it is in.
    began: u64,
    carries: u64,
}

/// A machine at work.
struct Simulation<'m> {
    machine: &'m SimulatedMachine,
    dice: SeededRng,
    governor: Governor,
    bucket: TokenBucket,
    orders: RateSettings,
    workers: Vec<SimulatedCopier>,
    done: CopyTotals,
    /// The size of the file, if it ends.
    bytes: Option<u64>,
    fork: SimulatedProber,
    write: SimulatedProber,
    bystander: SimulatedProber,
    /// The slice of the limit, and the bytes that were used of it.
    slice: (u64, f64),
    /// When the disk stands still next, and from when on it goes on.
    freeze: (u64, u64),
    /// What is left of the bytes that go fast, at which moment.
    credit: (f64, u64),
    answers: Vec<(Cause, LatencySample)>,
    tick: u64,
    reading: u64,
    /// When the disk has done what is queued.
    queue: u64,
    dirty: f64,
    drained: u64,
    /// Until when a copier waits for the disk, and nanoseconds stalled so far.
    waiting: u64,
    stalled: f64,
    reclaimed: f64,
    /// Bytes a second over the last 20 ms or so.
    speed: f64,
    told: bool,
    record: SimulationLog,
}

impl<'m> Simulation<'m> {
    fn new(machine: &'m SimulatedMachine, limits: &Limits) -> Self {
        let idle = SimulatedCopier {
            ready: 0,
            began: 0,
            carries: 0,
        };
        let mut governor = Governor::new(limits, sample_period, machine.threads, moment(0));
        let orders = governor.decide(moment(0), CopyTotals::default());
        Self {
            machine,
            dice: SeededRng(machine.seed ^ 0x5eed),
            governor,
            bucket: TokenBucket::new(Rate::Stopped, 0, moment(0)),
            orders,
            workers: vec![idle; machine.threads],
            done: CopyTotals::default(),
            bytes: None,
            fork: SimulatedProber::new(FORK_PERIOD),
            write: SimulatedProber::new(WRITE_PERIOD),
            bystander: SimulatedProber {
                ready: if machine.has_bystander {
                    BYSTANDER_PERIOD / 3
                } else {
                    u64::MAX
                },
                ..SimulatedProber::new(BYSTANDER_PERIOD)
            },
            slice: (0, 0.0),
            freeze: (0, 0),
            credit: (machine.credit.map_or(0.0, |(bytes, _)| bytes), 0),
            answers: Vec::new(),
            tick: 0,
            reading: 0,
            queue: 0,
            dirty: 0.0,
            drained: 0,
            waiting: 0,
            stalled: 0.0,
            reclaimed: 0.0,
            speed: 0.0,
            told: false,
            record: SimulationLog::default(),
        }
    }

    /// What comes next. Its time.
    fn step(&mut self) -> u64 {
        let workers = self.workers.iter().enumerate();
        let (worker, first) = workers.min_by_key(|(_, worker)| worker.ready).unwrap();
        let worker_at = first.ready;
        let at = worker_at
            .min(self.tick)
            .min(self.fork.ready)
            .min(self.write.ready)
            .min(self.bystander.ready);
        if at == self.tick {
            self.decide(at);
        } else if at == self.fork.ready {
            self.ask_fork(at);
        } else if at == self.write.ready {
            self.ask_write(at, false);
        } else if at == self.bystander.ready {
            self.ask_write(at, true);
        } else {
            self.work(worker, at);
        }
        at
    }

    /// The part that others leave.
    fn left(&self, at: u64) -> f64 {
        let load = self.machine.load.iter().rev();
        let now = load.clone().find(|(from, _)| *from <= at);
        1.0 - now.map_or(0.0, |(_, part)| *part)
    }

    fn decide(&mut self, at: u64) {
        for (cause, answer) in std::mem::take(&mut self.answers) {
            if answer.end <= moment(at) {
                self.governor.add_sample(cause, Sample::Latency(answer));
            } else {
                self.answers.push((cause, answer));
            }
        }
        if let Some((silence, true)) = &self.machine.silence
            && silence.contains(&at)
            && !self.told
        {
            self.told = true;
            self.governor.sensor_lost(Cause::ForkLatency, moment(at));
        }
        if at >= self.reading {
            self.read_pressure(at);
        }
        if let Some(bytes) = self.bytes {
            self.governor.set_remaining(RemainingWork {
                bytes: bytes.saturating_sub(self.done.moved),
                may_be_more: false,
            });
        }
        self.speed *= 0.4;
        self.orders = self.governor.decide(moment(at), self.done);
        let burst = self.orders.rate.bytes_in(self.orders.burst);
        let burst = burst.max(self.orders.chunk as u64);
        self.bucket.set(self.orders.rate, burst, moment(at));
        self.record.remember(at, self.orders);
        self.record
            .notices
            .extend(self.orders.notice.map(|word| (at, word)));
        self.tick = self.after_stop(at + GOVERNOR_INTERVAL);
    }

    fn read_pressure(&mut self, at: u64) {
        let load = (1.0 - self.left(at)) * 0.2;
        self.stalled += PSI_INTERVAL as f64 * load;
        if let Some(cached) = self.machine.cached {
            let beyond = (self.drain(at) / cached.watermark - 1.0).clamp(0.0, 1.0);
            self.reclaimed += PSI_INTERVAL as f64 * beyond;
        }
        let second = (at / NANOS_PER_SECOND) as usize;
        self.record.io.resize(second + 1, self.stalled);
        self.record.io[second] = self.stalled;
        self.record.memory.resize(second + 1, self.reclaimed);
        self.record.memory[second] = self.reclaimed;
        let ahead = self.waiting.saturating_sub(at) as f64;
        let stalled = ((self.stalled - ahead).max(0.0) / 1000.0) as u64;
        let reclaimed = (self.reclaimed / 1000.0) as u64;
        for (cause, total_us) in [
            (Cause::IoPressure, stalled),
            (Cause::MemoryPressure, reclaimed),
        ] {
            let sample = Sample::Stall(StallSample {
                at: moment(at),
                total_us,
            });
            self.governor.add_sample(cause, sample);
        }
        self.reading = at + PSI_INTERVAL;
    }

    fn after_stop(&self, at: u64) -> u64 {
        let stop = self.machine.stop.as_ref().filter(|stop| stop.contains(&at));
        stop.map_or(at, |stop| stop.end)
    }

    /// Nanoseconds that the disk needs for a request, and when it is back.
    fn request(&mut self, bytes: f64, at: u64) -> u64 {
        let disk = self.disk_rate(bytes, at);
        let mut starts = self.after_freeze(self.queue.max(at));
        let Some(length) = self.machine.slice else {
            let takes = self.machine.request + bytes * 1e9 / disk;
            self.queue = starts + takes as u64;
            return self.queue;
        };
        let share = disk * length as f64 / 1e9;
        if starts / length != self.slice.0 {
            self.slice = (starts / length, 0.0);
        }
        while self.slice.1 + bytes > share.max(bytes) {
            self.slice = (self.slice.0 + 1, 0.0);
            starts = self.slice.0 * length;
        }
        self.slice.1 += bytes;
        self.queue = starts;
        starts + (self.machine.request + bytes * 1e9 / UNLIMITED_DISK) as u64
    }

    /// Bytes a second that others leave of what the disk gives for a request of so many bytes.
    fn disk_rate(&mut self, bytes: f64, at: u64) -> f64 {
        let mut disk = self.machine.disk;
        if let Some((most, slow)) = self.machine.credit {
            let passed = at.saturating_sub(self.credit.1) as f64 / 1e9;
            self.credit = ((self.credit.0 + passed * slow - bytes).clamp(0.0, most), at);
            if self.credit.0 <= 0.0 {
                disk = slow;
            }
        }
        disk * self.left(at)
    }

    /// `at`, or when the disk goes on that stands still then.
    fn after_freeze(&mut self, at: u64) -> u64 {
        let Some((every, length)) = self.machine.freezes else {
            return at;
        };
        while self.freeze.1 <= at {
            let wait = -self.dice.unit_f64().max(1e-9).ln() * every * 1e9;
            let begins = self.freeze.1 + wait as u64;
            self.freeze = (begins, begins + length);
        }
        if at >= self.freeze.0 {
            self.freeze.1
        } else {
            at
        }
    }

    fn work(&mut self, index: usize, at: u64) {
        let carried = std::mem::take(&mut self.workers[index].carries);
        if carried > 0 {
            self.done.moved += carried;
            // Only calls with O_DIRECT are measured, and those of a copy that was stopped end when it goes on.
            if self.machine.cached.is_none() {
                self.governor.add_calls(CallSummary::new(CallSpan {
                    began: moment(self.workers[index].began),
                    end: moment(self.after_stop(at)),
                }));
            }
            self.speed += carried as f64 / 0.033;
            let second = (at / NANOS_PER_SECOND) as usize;
            self.record.seconds.resize(second + 1, 0.0);
            self.record.seconds[second] += carried as f64;
            let go_on = self.after_stop(at);
            if go_on > at {
                self.workers[index].ready = go_on;
                return;
            }
        }
        let bytes = self.orders.chunk as u64;
        match self.bucket.take(bytes, moment(at)) {
            Ok(()) => {
                self.workers[index].ready = self.move_bytes(bytes as f64, at).max(at + 1);
                self.workers[index].began = at;
                self.workers[index].carries = bytes;
            }
            Err(wait) => {
                let latest = self.tick.max(at + 1);
                let until = match wait {
                    Wait::Until(until) => until.as_nanos().min(latest),
                    Wait::ForChange => latest,
                };
                self.done.waited += Duration::from_nanos(until - at);
                self.workers[index].ready = until;
            }
        }
    }

    /// When a chunk is where it shall be.
    fn move_bytes(&mut self, bytes: f64, at: u64) -> u64 {
        let read = at + (bytes * 1e9 / self.machine.source) as u64;
        let Some(cached) = self.machine.cached else {
            let back = self.request(bytes, read);
            self.stalled += back.saturating_sub(self.waiting.max(at)) as f64;
            self.waiting = self.waiting.max(back);
            return back;
        };
        self.dirty = self.drain(at) + bytes;
        let too_much = self.dirty - 1.5 * cached.watermark;
        read + (too_much.max(0.0) * 1e9 / self.machine.disk) as u64
    }

    /// Dirty bytes that are left.
    fn drain(&mut self, at: u64) -> f64 {
        let passed = at.saturating_sub(self.drained) as f64 / 1e9;
        self.drained = at;
        self.dirty = (self.dirty - passed * self.machine.disk * self.left(at)).max(0.0);
        self.dirty
    }

    fn noise(&mut self) -> f64 {
        if self.dice.chance(self.machine.noise) {
            self.machine.spike * self.dice.unit_f64()
        } else {
            0.0
        }
    }

    fn ask_fork(&mut self, at: u64) {
        if let Some((silence, told)) = &self.machine.silence
            && silence.contains(&at)
        {
            // Nobody asks; a successor begins anew.
            self.fork.ready = silence.end.max(self.fork.next);
            if *told {
                self.fork.slot = silence.end;
                self.fork.next = silence.end;
                self.fork.ready = silence.end;
            }
            return;
        }
        let machine = self.machine;
        let full = machine.source * machine.threads as f64;
        let share = (self.speed / full).min(1.0) + (1.0 - self.left(at)) * 0.2;
        let chunk = self.orders.chunk as f64 * 1e9 / machine.source;
        let mut latency = machine.fork * (1.0 - 0.3 * self.dice.unit_f64().max(1e-9).ln());
        latency += machine.contention * share * self.dice.between(0.3, 1.0);
        latency += chunk * (self.speed / full).min(1.0) * self.dice.unit_f64();
        if let Some(cached) = machine.cached {
            let beyond = (self.drain(at) / cached.watermark - 1.0).clamp(0.0, 1.0);
            if self.dice.chance(beyond) {
                latency += cached.reclaim * self.dice.unit_f64();
            }
        }
        latency += self.noise();
        let (first, count) = self.fork.take_due(at);
        let end = at + latency as u64;
        self.answered(Cause::ForkLatency, first, count, end);
        self.fork.advance(count, &mut self.dice);
        self.fork.ready = self.fork.next.max(end);
    }

    fn ask_write(&mut self, at: u64, is_bystander: bool) {
        let prober = if is_bystander {
            &self.bystander
        } else {
            &self.write
        };
        let (first, count, left) = prober.asked.unwrap_or_else(|| {
            let (first, count) = prober.take_due(at);
            (first, count, self.machine.writes)
        });
        if left > 0 {
            let mut before = 0.0;
            if self.machine.cached.is_some() {
                // The flusher keeps 50 ms of requests in the queue.
                before = self.drain(at).min(0.05 * self.machine.disk);
            }
            let ready = self.request(4096.0 + before, at);
            let prober = self.write_asker(is_bystander);
            prober.ready = ready;
            prober.asked = Some((first, count, left - 1));
            return;
        }
        let end = at + self.noise() as u64;
        if is_bystander {
            let rate = self.record.rate_at(first);
            let moments = (0..count).map(|step| first + step * BYSTANDER_PERIOD);
            let moments = moments.map(|moment| (moment, end.saturating_sub(moment), rate));
            self.record.bystander.extend(moments);
        } else {
            self.answered(Cause::WriteLatency, first, count, end);
        }
        let mut dice = self.dice.clone();
        let prober = self.write_asker(is_bystander);
        prober.advance(count, &mut dice);
        prober.ready = prober.next.max(end);
        prober.asked = None;
        self.dice = dice;
    }

    fn write_asker(&mut self, is_bystander: bool) -> &mut SimulatedProber {
        if is_bystander {
            &mut self.bystander
        } else {
            &mut self.write
        }
    }

    fn answered(&mut self, cause: Cause, intended: u64, moments: u64, end: u64) {
        let period = sample_period(cause).as_nanos() as u64;
        for step in 0..moments {
            let moment = intended + step * period;
            let entry = (moment, end - moment, self.record.rate_at(moment));
            match cause {
                Cause::ForkLatency => self.record.forks.push(entry),
                _ => self.record.writes.push(entry),
            }
        }
        let answer = LatencySample {
            intended: moment(intended),
            moments,
            end: moment(end),
        };
        self.answers.push((cause, answer));
    }
}
