//! What a forked process must not have: memory that was kept from it, a panic that runs the destructors of its parent, and a
//! parent that is a thread.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, panic_any};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::thread;

use mmapcp::sys::buffer::AlignedBuffer;
use mmapcp::sys::process::{MainThread, die_with_parent, fork_and_run, reap};
use mmapcp::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};

/// The status of a worker that panicked.
const PANICKED: Option<i32> = Some(101);

/// Runs a worker that is given what it must not have: the compiler refuses it without the assertion.
fn worker<T>(held: T, body: impl FnOnce(T) -> i32) -> (T, ExitStatus) {
    let body = AssertUnwindSafe(body);
    let (held, pid) = fork_and_run(AssertUnwindSafe(held), |held| {
        let body = body;
        (body.0)(held.0)
    });
    (held.0, reap(pid.unwrap()).unwrap().0)
}

fn kept() -> DontForkWords {
    let kept = SharedWords::new(1).unwrap().set_dontfork();
    kept.store(0, 7, Ordering::Relaxed);
    kept
}

/// It panics, and does not die by SIGSEGV or read what has come to lie there.
pub(crate) fn read_kept_words(_: &Path) {
    let kept = kept();
    let (_, status) = worker((), |()| kept.load(0, Ordering::Relaxed) as i32);
    assert_eq!((status.code(), status.signal()), (PANICKED, None));
    // A worker of a worker does not have those of the first, and has its own.
    let (_, status) = worker((), |()| {
        let own = self::kept();
        let (_, status) = worker((), |()| own.load(0, Ordering::Relaxed) as i32);
        let (_, other) = worker((), |()| kept.load(0, Ordering::Relaxed) as i32);
        assert_eq!((status.code(), other.code()), (PANICKED, PANICKED));
        own.load(0, Ordering::Relaxed) as i32
    });
    assert_eq!(status.code(), Some(7));
    assert_eq!(kept.load(0, Ordering::Relaxed), 7);
}

/// Where they lie in the parent, the child has other memory by then.
pub(crate) fn drop_kept_words(_: &Path) {
    let (kept, status) = worker(kept(), |kept| {
        let page = || AlignedBuffer::new(4096).unwrap();
        let mut pages: Vec<AlignedBuffer> = (0..1000).map(|_| page()).collect();
        drop(kept);
        pages.iter_mut().for_each(|page| page[0] = 1);
        0
    });
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert_eq!(kept.load(0, Ordering::Relaxed), 7);
}

struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

/// Leaves a mark when it is dropped, as what removes a file does.
struct RecordDropInParent(PathBuf);

impl Drop for RecordDropInParent {
    fn drop(&mut self) {
        fs::write(&self.0, "").unwrap();
    }
}

pub(crate) fn panic_twice(dir: &Path) {
    let dropped = dir.join("dropped");
    let guard = RecordDropInParent(dropped.clone());
    let (_, status) = worker((), |()| panic_any(PanicOnDrop));
    assert_eq!((status.code(), status.signal()), (PANICKED, None));
    assert!(!dropped.exists());
    drop(guard);
    assert!(dropped.exists());
}

/// A command that shall end with this process would end with the thread that starts it.
pub(crate) fn start_from_a_thread(_: &Path) {
    let main = MainThread::current().unwrap();
    let mut command = Command::new("true");
    die_with_parent(&mut command, main);
    assert!(command.status().unwrap().success());
    let started = thread::spawn(move || {
        assert!(MainThread::current().is_err());
        command.status().map_err(|e| e.raw_os_error())
    });
    assert_eq!(started.join().unwrap().unwrap_err(), Some(libc::EINVAL));
}
