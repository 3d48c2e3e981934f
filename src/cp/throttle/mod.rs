//! A copy held to what the user allows: what watches the machine, and the thread beside the copy that governs its pace.

mod dest_directory;
mod idle;
mod messages;
mod sensors;

pub(super) use dest_directory::find_dest_directory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Duration;

use super::operands::OperandJobs;
use super::options::CopyOptions;
use super::tree::thread_count;
use crate::report::{OrderedOutput, Reporter};
use crate::sys::clock::MonotonicNs;
use crate::sys::strerror::strerror;
use crate::transfer::rate_limit::{Governor, Limits, Notice, RateLimiter, RateSettings};
use sensors::{SensorEvent, SensorSet};

/// How often the governor looks. A fork prober answers every 25 ms; a look takes 10 us.
const GOVERNOR_INTERVAL: Duration = Duration::from_millis(20);

/// How often where nothing but a rate is to be held: somebody may want to know whether it is.
const RATE_ONLY_INTERVAL: Duration = Duration::from_millis(100);

/// All that is started before there is a second thread: a prober is forked.
#[derive(Debug)]
pub(super) struct Throttle {
    watch: SensorSet,
    limits: Limits,
    threads: usize,
}

impl Throttle {
    /// Starts what watches; nothing where nothing is limited.
    ///
    /// # Errors
    /// What cannot be watched and why: a copy that could hurt whom it shall spare is not begun.
    pub(super) fn start(
        options: &CopyOptions,
        jobs: &OperandJobs,
        voice: &mut OrderedOutput,
    ) -> Result<Option<Self>, String> {
        let limits = options.throttle;
        if !limits.any() {
            return Ok(None);
        }
        Ok(Some(Self {
            watch: SensorSet::start(options, jobs, voice)?,
            limits,
            threads: thread_count(options),
        }))
    }
}

/// Runs `copy` at the pace that is allowed, on this thread and with the priority that is wanted.
pub(super) fn run_throttled(
    throttle: Option<Throttle>,
    options: &CopyOptions,
    jobs: &OperandJobs,
    reporter: &Reporter,
    copy: impl FnOnce(Option<Arc<RateLimiter>>) -> bool,
) -> bool {
    let be_idle = || {
        if options.idle {
            idle::become_idle(jobs, options, reporter);
        }
    };
    let Some(throttle) = throttle else {
        be_idle();
        return copy(None);
    };
    let pacer = Arc::new(RateLimiter::new(throttle.limits.governed()));
    let mut governing = GovernorLoop::new(throttle, &pacer, reporter);
    // The first orders are there before the first who asks: nobody waits for a thread to come up.
    governing.update_rate();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = &over;
        let governing = Builder::new().spawn_scoped(scope, move || {
            let _stop = StopOnPanic(reporter);
            governing.run_until(ended);
        });
        let governing = match governing {
            Ok(governing) => governing,
            Err(e) => {
                let why = strerror(&e);
                reporter.abort(&format!("cannot start a thread to hold the limits: {why}"));
                return false;
            }
        };
        // Who governs keeps its priority; threads that are made from here on have this one's.
        be_idle();
        let _end = GovernorStopper {
            over: &over,
            governing: governing.thread().clone(),
        };
        copy(Some(Arc::clone(&pacer)))
    })
}

/// Ends the governing with the copy, also when that panics.
struct GovernorStopper<'a> {
    over: &'a AtomicBool,
    governing: Thread,
}

impl Drop for GovernorStopper<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.governing.unpark();
    }
}

/// A copy that nobody governs any more might wait for ever.
struct StopOnPanic<'a>(&'a Reporter);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// The governor, with what it sees and whom it orders.
struct GovernorLoop<'a> {
    watch: SensorSet,
    governor: Governor,
    pacer: &'a RateLimiter,
    reporter: &'a Reporter,
    limits: Limits,
}

impl<'a> GovernorLoop<'a> {
    fn new(throttle: Throttle, pacer: &'a RateLimiter, reporter: &'a Reporter) -> Self {
        let Throttle {
            watch,
            limits,
            threads,
        } = throttle;
        Self {
            governor: Governor::new(&limits, sensors::sample_period, threads, MonotonicNs::now()),
            watch,
            pacer,
            reporter,
            limits,
        }
    }

    fn run_until(mut self, over: &AtomicBool) {
        let tick = if self.limits.governed() {
            GOVERNOR_INTERVAL
        } else {
            RATE_ONLY_INTERVAL
        };
        while !over.load(Ordering::Acquire) {
            self.update_rate();
            std::thread::park_timeout(tick);
        }
    }

    fn update_rate(&mut self) {
        self.look();
        let now = MonotonicNs::now();
        let orders = self.governor.decide(now, self.pacer.totals());
        self.pacer.apply(&orders, now);
        self.report_notice(&orders);
    }

    fn look(&mut self) {
        let (governor, reporter) = (&mut self.governor, self.reporter);
        // Who ends all processes of a service ends the probers as well.
        let warn = |text: &str| {
            if !reporter.is_stopping() {
                reporter.warn(text);
            }
        };
        self.watch
            .poll_sensors(MonotonicNs::now(), |look| match look {
                SensorEvent::Sample(cause, sample) => governor.add_sample(cause, sample),
                SensorEvent::SensorLost(cause, why) => {
                    governor.sensor_lost(cause, MonotonicNs::now());
                    warn(&why);
                }
                SensorEvent::Message(text) => warn(&text),
            });
    }

    fn report_notice(&self, orders: &RateSettings) {
        self.reporter.report_throttle(orders.bottleneck.as_ref());
        match &orders.notice {
            Some(Notice::TargetMissedBeforeStart(holding)) => {
                self.reporter.warn(&messages::over_without_us(holding));
            }
            Some(Notice::GiveUp(holding)) => {
                let after = self.limits.give_up_after.unwrap_or_default();
                self.reporter.abort(&messages::give_up(holding, after));
            }
            None => {}
        }
    }
}
