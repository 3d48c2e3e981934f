//! Tells a service manager that waits for this program how it gets on (`NOTIFY_SOCKET`, sd_notify(3)): as long as bytes
//! move, its time does not run out. Nothing here can fail the copy, or make it wait.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Duration;

use crate::report::Reporter;
use crate::sys::environment::take_variable;

/// The variable that names the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The time between two messages.
const INTERVAL: Duration = Duration::from_secs(3);

/// The time that each message asks for: a disk that takes nothing for so long has failed.
const EXTENSION: Duration = Duration::from_secs(60);

/// Returns the name of the socket, if the environment has one, and removes the variable, so that no child has it. Must be
/// called while this process has one thread.
pub(super) fn take_socket_name() -> Option<OsString> {
    take_variable(VARIABLE)
}

/// The socket of the service manager.
#[derive(Debug)]
pub(super) struct ServiceNotifier {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceNotifier {
    /// Opens the socket of this name. It must be called after the last fork, whose process would have the socket, too.
    ///
    /// # Errors
    /// Returns an error for a name of another kind, and the error of socket(2).
    pub(super) fn open(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        // It is closed in programs that are started (SOCK_CLOEXEC).
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Opens the socket that the environment names, for a wait before the copy, and leaves the variable there. Processes
    /// that are forked have the socket until this is dropped.
    pub(super) fn open_for_wait() -> Option<Self> {
        let name = std::env::var_os(VARIABLE)?;
        Self::open(&name).ok()
    }

    /// Sends what the service manager may show, and asks it for more time. A full or missing socket is no error.
    pub(super) fn send(&self, status: &str) {
        let message = format!(
            "EXTEND_TIMEOUT_USEC={}\nSTATUS={}\n",
            EXTENSION.as_micros(),
            status.replace('\n', " ")
        );
        let _ = self.socket.send_to_addr(message.as_bytes(), &self.address);
    }

    /// Sends a message now and then while bytes move, until `over`.
    fn run_until(&self, over: &AtomicBool, reporter: &Reporter) {
        let mut last = 0;
        while !over.load(Ordering::Acquire) {
            let activity = reporter.activity();
            if activity != last {
                last = activity;
                self.send(&reporter.status_text());
            }
            std::thread::park_timeout(INTERVAL);
        }
    }
}

/// Runs `copy` on this thread, and tells the service manager how it gets on, if there is one.
pub(super) fn run_notifying<R>(
    notifier: Option<ServiceNotifier>,
    reporter: &Reporter,
    copy: impl FnOnce() -> R,
) -> R {
    let Some(notifier) = notifier else {
        return copy();
    };
    reporter.count_total();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ended = &over;
        let notifying = Builder::new().spawn_scoped(scope, move || {
            notifier.run_until(ended, reporter);
        });
        // Without a thread nobody is told, but the copy runs.
        let _end = notifying.ok().map(|notifying| NotifierStopper {
            over: &over,
            notifying: notifying.thread().clone(),
        });
        copy()
    })
}

/// Ends the notifier when the copy ends, even if that panics.
struct NotifierStopper<'a> {
    over: &'a AtomicBool,
    notifying: Thread,
}

impl Drop for NotifierStopper<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.notifying.unpark();
    }
}
