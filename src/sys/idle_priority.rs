//! Lowers the priority of a thread: the idle I/O class, the lowest nice value, and the idle scheduling policy.
//!
//! All three belong to the calling thread (on Linux also the nice value, although POSIX says otherwise: setpriority(2),
//! NOTES), and to the threads and processes that it starts afterwards; the tests verify that. They must therefore be
//! set before the copying threads are started, and after the processes that measure latency were forked.
#![allow(unsafe_code)]

use std::io;

/// The value of `ioprio_set`'s first argument for one thread, of include/uapi/linux/ioprio.h. glibc has no wrapper.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;

/// The id that stands for the calling thread in all three calls.
const CALLING_THREAD: libc::c_int = 0;

/// The lowest priority: a weight of 15, while a thread of nice 0 has 1024 (`sched_prio_to_weight`,
/// kernel/sched/core.c).
const LOWEST_NICE: libc::c_int = 19;

/// I/O schedulers that serve the idle class after the others: bfq (Linux 4.12), mq-deadline (5.14, commit c807ab520fc3
/// "block/mq-deadline: Add I/O priority support"), and cfq (until 4.20). Documentation/block/ioprio.rst names the first two;
/// neither kyber nor the old deadline and noop look at a class, and `none` has no queue to sort.
const IO_CLASS_SCHEDULERS: [&str; 3] = ["bfq", "mq-deadline", "cfq"];

/// First release of the kernel in which mq-deadline serves the idle class after the others.
const MQ_DEADLINE_SINCE: (u32, u32) = (5, 14);

/// Returns whether an I/O scheduler of a kernel treats all classes of ioprio_set(2) alike. `release` is that of
/// uname(2); a release that cannot be parsed is taken for a new one.
#[must_use]
pub fn ignores_io_classes(scheduler: &str, release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    let old = number()
        .zip(number())
        .is_some_and(|release| release < MQ_DEADLINE_SINCE);
    !IO_CLASS_SCHEDULERS.contains(&scheduler) || (scheduler == "mq-deadline" && old)
}

/// Sets the idle I/O class with ioprio_set(2). I/O schedulers that know classes serve the reads and the direct and
/// synchronous writes of this thread only while no other I/O waits.
///
/// # Errors
/// EPERM without root before Linux 2.6.25; ENOSYS if the kernel has no block devices; any error of a sandbox.
pub fn set_idle_io_class() -> io::Result<()> {
    let class = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
    // SAFETY: ioprio_set takes three integers.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            CALLING_THREAD,
            class,
        )
    };
    ok_or_errno(rc == 0)
}

/// Sets nice 19 with setpriority(2). Raising the nice value is always allowed. Lowering it again takes `CAP_SYS_NICE`
/// or `RLIMIT_NICE`.
///
/// # Errors
/// Any error that a sandbox returns.
pub fn set_lowest_nice() -> io::Result<()> {
    // SAFETY: setpriority takes three integers.
    let rc = unsafe {
        libc::setpriority(
            libc::PRIO_PROCESS,
            CALLING_THREAD.cast_unsigned(),
            LOWEST_NICE,
        )
    };
    ok_or_errno(rc == 0)
}

/// Sets SCHED_IDLE with sched_setscheduler(2). It is below nice 19 (sched(7)): its weight is 3 instead of 15
/// (`WEIGHT_IDLEPRIO`, kernel/sched/sched.h), and a thread of another policy that wakes up preempts it.
///
/// # Errors
/// EPERM for a real-time thread without `CAP_SYS_NICE`; any error of a sandbox.
pub fn set_idle_scheduling() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sched_param, made of integers; its priority must be 0 here.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads a live sched_param.
    let rc =
        unsafe { libc::sched_setscheduler(CALLING_THREAD, libc::SCHED_IDLE, &raw const param) };
    ok_or_errno(rc == 0)
}

fn ok_or_errno(done: bool) -> io::Result<()> {
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::thread;

    #[test]
    fn schedulers_that_sort_by_class() {
        for (scheduler, release, ignored) in [
            ("none", "6.18.2", true),
            ("kyber", "6.18.2", true),
            ("bfq", "4.19.0-27-amd64", false),
            ("cfq", "4.4.0", false),
            ("mq-deadline", "5.13.19", true),
            ("mq-deadline", "5.14.0-503.el9", false),
            ("mq-deadline", "6.1", false),
            ("mq-deadline", "unknown", false),
        ] {
            let found = ignores_io_classes(scheduler, release);
            assert_eq!(found, ignored, "{scheduler} {release}");
        }
    }

    use super::*;

    /// I/O class, nice value and policy of a thread or a process.
    type Standing = (libc::c_long, i32, i32);

    const IDLE: Standing = (3, 19, libc::SCHED_IDLE);

    fn own() -> Standing {
        standing(CALLING_THREAD, "thread-self")
    }

    /// Reads the class with ioprio_get(2), and the rest from fields 19 and 41 of proc_pid_stat(5).
    fn standing(who: libc::c_int, name: &str) -> Standing {
        // SAFETY: ioprio_get takes two integers.
        let ioprio = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, who) };
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let field = |n: usize| rest.split(' ').nth(n - 3).unwrap().parse().unwrap();
        (ioprio >> IOPRIO_CLASS_SHIFT, field(19), field(41))
    }

    /// Reads the values of a child process that waits meanwhile.
    fn of_child() -> Standing {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let found = standing(child.id().cast_signed(), &child.id().to_string());
        drop(child.stdin.take());
        child.wait().unwrap();
        found
    }

    #[test]
    fn a_thread_that_steps_back_takes_those_that_it_starts_along_and_nobody_else() {
        let before = own();
        assert_ne!(before, IDLE);
        let idle = thread::spawn(|| {
            set_idle_io_class().unwrap();
            set_lowest_nice().unwrap();
            set_idle_scheduling().unwrap();
            let started = thread::spawn(own).join().unwrap();
            [own(), started, of_child()]
        });
        assert_eq!(idle.join().unwrap(), [IDLE; 3]);
        let started = thread::spawn(own).join().unwrap();
        assert_eq!([own(), started, of_child()], [before; 3]);
    }

    #[test]
    fn the_class_and_the_nice_value_stay_when_the_policy_is_set_first() {
        let last = thread::spawn(|| {
            set_idle_scheduling().unwrap();
            set_lowest_nice().unwrap();
            set_idle_io_class().unwrap();
            own()
        });
        assert_eq!(last.join().unwrap(), IDLE);
    }
}
