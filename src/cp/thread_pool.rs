//! A thread pool for jobs that borrow. The submitting thread is one of the pool's threads.

use crate::sys::lock::{lock, unpoisoned};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, Scope};

/// A job that borrows for `'env`.
pub type PoolTask<'env> = Box<dyn FnOnce() + Send + 'env>;

/// Number of jobs that may wait, for each thread. When there are more, the submitting thread runs the oldest.
const WAITING: usize = 2;

/// The most threads that are used unless --jobs asks for more. Beyond that, threads wait for the lock of a directory or for
/// the disk.
const MAX_DEFAULT_THREADS: usize = 4;

/// Returns the number of threads that are used unless --jobs says another: one for each CPU, up to a bound.
#[must_use]
pub fn default_thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_DEFAULT_THREADS))
}

/// Calls `work` with a pool that runs jobs on `threads` threads, including this one. All jobs are done before this
/// returns.
pub fn scoped<'env, R>(
    threads: usize,
    work: impl for<'scope> FnOnce(&Pool<'scope, 'env>) -> R,
) -> R {
    std::thread::scope(|scope| {
        let pool = Pool {
            scope,
            threads: threads.max(1),
            shared: Arc::default(),
        };
        let result = work(&pool);
        pool.drain();
        result
    })
}

/// A pool whose threads live in a [`Scope`].
pub struct Pool<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    threads: usize,
    shared: Arc<PoolShared<'env>>,
}

#[derive(Default)]
struct PoolShared<'env> {
    state: Mutex<PoolState<'env>>,
    /// Signals that there is a job for a sleeping worker, or that the pool is closed.
    wake: Condvar,
    /// Signals that the last job is done.
    done: Condvar,
}

#[derive(Default)]
struct PoolState<'env> {
    waiting: VecDeque<PoolTask<'env>>,
    /// Number of jobs that workers are running.
    running: usize,
    /// Number of workers, and the number of them that sleep.
    workers: usize,
    asleep: usize,
    /// Whether a thread waits for `done`.
    draining: bool,
    /// Whether no more jobs will come.
    closed: bool,
    /// Whether no more threads can be started.
    refused: bool,
    /// The panic of the first job that panicked.
    panicked: Option<Box<dyn Any + Send>>,
}

impl<'env> Pool<'_, 'env> {
    /// Returns the maximum number of jobs that run at a time.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Submits a job, which runs now or later; with one thread it runs before this returns. Resumes the panic of a job
    /// that panicked.
    pub fn submit(&self, job: PoolTask<'env>) {
        if self.threads == 1 {
            return job();
        }
        let mut state = self.shared.lock();
        if let Some(panic) = state.panicked.take() {
            drop(state);
            resume_unwind(panic);
        }
        state.waiting.push_back(job);
        self.wake_or_spawn_worker(&mut state);
        if state.waiting.len() > WAITING * self.threads
            && let Some(oldest) = state.waiting.pop_front()
        {
            drop(state);
            oldest();
        }
    }

    /// Helps with the waiting jobs, and returns when all jobs are done. Resumes the panic of a job that panicked.
    pub fn drain(&self) {
        let mut state = self.shared.lock();
        while let Some(job) = state.waiting.pop_front() {
            drop(state);
            job();
            state = self.shared.lock();
        }
        state.draining = true;
        while state.running > 0 {
            state = unpoisoned(self.shared.done.wait(state));
        }
        state.draining = false;
        if let Some(panic) = state.panicked.take() {
            drop(state);
            resume_unwind(panic);
        }
    }

    /// Wakes or starts a worker for the waiting jobs, if that is worth its cost.
    fn wake_or_spawn_worker(&self, state: &mut PoolState<'env>) {
        // A working thread takes the jobs by itself. Waking a sleeping one takes a virtual machine up to 50 us, longer
        // than many jobs take. So half a queue is collected first; the submitting thread would run these jobs, too.
        if state.waiting.len() < self.threads {
            return;
        }
        if state.asleep > 0 {
            self.shared.wake.notify_one();
        } else if state.workers < self.threads - 1 && !state.refused {
            let shared = Arc::clone(&self.shared);
            let started = Builder::new().spawn_scoped(self.scope, move || shared.run_worker());
            match started {
                Ok(_) => state.workers += 1,
                // Fewer workers are enough, since this thread runs jobs itself.
                Err(_) => state.refused = true,
            }
        }
    }
}

impl Drop for Pool<'_, '_> {
    /// Ends the workers. Jobs are still waiting only if this thread panics.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let forgotten = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.wake.notify_all();
        drop(forgotten);
    }
}

impl<'env> PoolShared<'env> {
    fn lock(&self) -> MutexGuard<'_, PoolState<'env>> {
        lock(&self.state)
    }

    /// Runs jobs on a worker until the pool is closed.
    fn run_worker(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                state.running += 1;
                drop(state);
                let done = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.running -= 1;
                if let Err(panic) = done {
                    state.panicked.get_or_insert(panic);
                }
                if state.draining && state.running == 0 {
                    self.done.notify_one();
                }
            } else if state.closed {
                return;
            } else {
                state.asleep += 1;
                state = unpoisoned(self.wake.wait(state));
                state.asleep -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_job_is_done_before_drain_returns() {
        for threads in [1, 2, 3, 8] {
            let done = AtomicUsize::new(0);
            scoped(threads, |pool| {
                for round in 1..=20 {
                    for job in 0..50 {
                        let done = &done;
                        pool.submit(Box::new(move || {
                            if job % 10 == 0 {
                                thread::sleep(Duration::from_micros(100));
                            }
                            done.fetch_add(1, Ordering::Relaxed);
                        }));
                    }
                    pool.drain();
                    assert_eq!(
                        done.load(Ordering::Relaxed),
                        round * 50,
                        "{threads} threads"
                    );
                }
                pool.submit(Box::new(|| {
                    done.fetch_add(1, Ordering::Relaxed);
                }));
            });
            assert_eq!(done.load(Ordering::Relaxed), 1001, "left for the end");
        }
    }

    #[test]
    fn one_thread_does_each_job_at_once() {
        let mut order = Vec::new();
        let said = Mutex::new(&mut order);
        scoped(1, |pool| {
            pool.submit(Box::new(|| said.lock().unwrap().push(1)));
            said.lock().unwrap().push(2);
        });
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn jobs_are_done_at_the_same_time() {
        let meeting = std::sync::Barrier::new(2);
        scoped(2, |pool| {
            for _ in 0..2 {
                pool.submit(Box::new(|| {
                    meeting.wait();
                }));
            }
        });
    }

    #[test]
    fn a_panic_in_a_job_goes_on() {
        for threads in [1, 2] {
            let ended = catch_unwind(|| {
                scoped(threads, |pool| {
                    for job in 0..20 {
                        pool.submit(Box::new(move || {
                            thread::sleep(Duration::from_micros(100));
                            assert!(job != 7, "the seventh");
                        }));
                    }
                });
            });
            let panic = ended.expect_err("it panicked");
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"the seventh"));
        }
    }
}
