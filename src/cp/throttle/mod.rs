//! A copy held to what the user allows: what watches the machine, and the thread beside the copy that governs its pace.

mod idle;
mod place;
mod watch;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Duration;

use super::operands::Jobs;
use super::options::Options;
use super::tree::threads;
use crate::report::{Reporter, Voice};
use crate::sys::clock::now;
use crate::sys::words::reason;
use crate::transfer::pace::{Governor, Limits, Orders, Pacer, Word};
use watch::{Look, Watch};

/// How often the governor looks. A fork prober answers every 25 ms; a look takes 10 us.
const TICK: Duration = Duration::from_millis(20);

/// How often where nothing but a rate is to be held: somebody may want to know whether it is.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// All that is started before there is a second thread: a prober is forked.
#[derive(Debug)]
pub(super) struct Throttle {
    watch: Watch,
    limits: Limits,
    threads: usize,
}

impl Throttle {
    /// Starts what watches; nothing where nothing is limited.
    ///
    /// # Errors
    /// What cannot be watched and why: a copy that could hurt whom it shall spare is not begun.
    pub(super) fn start(
        options: &Options,
        jobs: &Jobs,
        voice: &mut Voice,
    ) -> Result<Option<Self>, String> {
        let limits = options.throttle;
        if !limits.any() {
            return Ok(None);
        }
        Ok(Some(Self {
            watch: Watch::start(options, jobs, voice)?,
            limits,
            threads: threads(options),
        }))
    }
}

/// Runs `copy` at the pace that is allowed, on this thread and with the priority that is wanted.
pub(super) fn beside(
    throttle: Option<Throttle>,
    (options, jobs): (&Options, &Jobs),
    reporter: &Reporter,
    copy: impl FnOnce(Option<Arc<Pacer>>) -> bool,
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
    let pacer = Arc::new(Pacer::new(throttle.limits.governed()));
    let mut governing = Governing::new(throttle, &pacer, reporter);
    // The first orders are there before the first who asks: nobody waits for a thread to come up.
    governing.look_and_order();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = &over;
        let governing = Builder::new().spawn_scoped(scope, move || {
            let _stop = StopOnPanic(reporter);
            governing.until(ended);
        });
        let governing = match governing {
            Ok(governing) => governing,
            Err(e) => {
                let why = reason(&e);
                reporter.give_up(&format!("cannot start a thread to hold the limits: {why}"));
                return false;
            }
        };
        // Who governs keeps its priority; threads that are made from here on have this one's.
        be_idle();
        let _end = End {
            over: &over,
            governing: governing.thread().clone(),
        };
        copy(Some(Arc::clone(&pacer)))
    })
}

/// Ends the governing with the copy, also when that panics.
struct End<'a> {
    over: &'a AtomicBool,
    governing: Thread,
}

impl Drop for End<'_> {
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
struct Governing<'a> {
    watch: Watch,
    governor: Governor,
    pacer: &'a Pacer,
    reporter: &'a Reporter,
    limits: Limits,
}

impl<'a> Governing<'a> {
    fn new(throttle: Throttle, pacer: &'a Pacer, reporter: &'a Reporter) -> Self {
        let Throttle {
            watch,
            limits,
            threads,
        } = throttle;
        Self {
            governor: Governor::new(&limits, watch.periods(), threads, now()),
            watch,
            pacer,
            reporter,
            limits,
        }
    }

    fn until(mut self, over: &AtomicBool) {
        let tick = if self.limits.governed() {
            TICK
        } else {
            SLOW_TICK
        };
        while !over.load(Ordering::Acquire) {
            self.look_and_order();
            std::thread::park_timeout(tick);
        }
    }

    fn look_and_order(&mut self) {
        self.look();
        let now = now();
        let orders = self.governor.decide(now, self.pacer.done());
        self.pacer.obey(&orders, now);
        self.tell(&orders);
    }

    fn look(&mut self) {
        let (governor, reporter) = (&mut self.governor, self.reporter);
        // Who ends all processes of a service ends the probers as well.
        let warn = |text: &str| {
            if !reporter.is_ending() {
                reporter.warn(text);
            }
        };
        self.watch.look(now(), |look| match look {
            Look::Answer(cause, answer) => governor.answer(cause, answer),
            Look::Stalled(cause, at, total) => governor.stalled(cause, at, total),
            Look::Blind(cause, why) => {
                governor.blind(cause, now());
                warn(&why);
            }
            Look::News(text) => warn(&text),
        });
    }

    fn tell(&self, orders: &Orders) {
        self.reporter.throttled(orders.holding.as_ref());
        match &orders.word {
            Some(Word::OverWithoutUs(holding)) => {
                self.reporter.warn(&words::over_without_us(holding));
            }
            Some(Word::GiveUp(holding)) => {
                let after = self.limits.give_up_after.unwrap_or_default();
                self.reporter.give_up(&words::give_up(holding, after));
            }
            None => {}
        }
    }
}
