//! Classifies an errno: repeat the call, use another engine, or give up. No other module decides by an errno of a data
//! call.

use std::io;

use nix::errno::Errno;

use crate::sys::stop_request;

/// What an errno from a data call means for the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrnoClass {
    /// A signal interrupted the call, which is to be repeated.
    Retry,
    /// The call does not work here, but another may.
    Unsupported,
    /// No other call will succeed either.
    Fatal,
}

/// Classifies an error. Refused optional calls come back as EPERM, ENOSYS, EOPNOTSUPP, EINVAL or EXDEV (file systems,
/// seccomp and old kernels each in their own way, measured): all of them mean [`ErrnoClass::Unsupported`].
#[must_use]
pub fn classify(error: &io::Error) -> ErrnoClass {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINTR) => ErrnoClass::Retry,
        Some(
            Errno::EPERM
            | Errno::ENOSYS
            | Errno::EOPNOTSUPP
            | Errno::EINVAL
            | Errno::EXDEV
            | Errno::ENOTTY,
        ) => ErrnoClass::Unsupported,
        _ => ErrnoClass::Fatal,
    }
}

/// Returns the errno of an error; EIO for an error that no system call returned.
#[must_use]
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Returns whether an errno means that a file system is full, or that a quota is used up: ENOSPC or EDQUOT.
#[must_use]
pub fn is_no_space(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT)
}

/// Returns whether an error means that a call is refused, and not that it failed at its work. Security modules refuse
/// with EACCES as well. It is only for calls that a copy can do without: for others EACCES is final.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    classify(error) == ErrnoClass::Unsupported || error.raw_os_error() == Some(Errno::EACCES as i32)
}

/// The file to which an error belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The source; cp says "error reading" then.
    Source,
    /// The destination; cp says "error writing" then.
    Dest,
}

/// Why an engine did not move the bytes.
#[derive(Debug)]
pub enum EngineError {
    /// This engine cannot copy this range, but the next may.
    Unsupported(Endpoint, io::Error),
    /// The copy of this file has failed.
    Fatal(Endpoint, io::Error),
    /// The source ended before the size that it reported.
    SourceEnd,
}

impl EngineError {
    /// Makes the error of a call on `side`, classified by [`classify`].
    #[must_use]
    pub fn new(side: Endpoint, error: io::Error) -> Self {
        match classify(&error) {
            ErrnoClass::Unsupported => Self::Unsupported(side, error),
            ErrnoClass::Retry | ErrnoClass::Fatal => Self::Fatal(side, error),
        }
    }
}

/// How often an interrupted call is repeated after a signal asked this process to stop. One repetition is enough for a
/// call that this very signal interrupted; a file system that always returns EINTR uses all of them up in microseconds.
const TRIES_AFTER_STOP: u32 = 16;

/// Repeats a call as long as signals interrupt it and none of them asks this process to stop.
///
/// # Errors
/// The error of the call; EINTR only after a request to stop, when 16 repetitions have not helped.
pub fn retry<T, E: Into<io::Error>>(call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    retry_until(stop_request::is_requested, call)
}

fn retry_until<T, E: Into<io::Error>>(
    stopped: impl Fn() -> bool,
    mut call: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    let mut tries = 0;
    loop {
        match call().map_err(Into::into) {
            Err(e) if classify(&e) == ErrnoClass::Retry && tries < TRIES_AFTER_STOP => {
                tries += u32::from(stopped());
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut calls = 0;
        let got = retry(|| {
            calls += 1;
            if calls < 3 { Err(Errno::EINTR) } else { Ok(7) }
        });
        assert_eq!((got.ok(), calls), (Some(7), 3));
    }

    #[test]
    fn a_call_that_is_always_interrupted_ends_with_the_request_to_stop() {
        let (mut calls, stopped) = (0, std::cell::Cell::new(false));
        let got = retry_until(
            || stopped.get(),
            || {
                calls += 1;
                stopped.set(calls >= 1000);
                Err::<(), _>(Errno::EINTR)
            },
        );
        let errno = got.err().and_then(|e| e.raw_os_error());
        assert_eq!(errno, Some(libc::EINTR));
        assert_eq!(calls, 1000 + TRIES_AFTER_STOP);
    }

    #[test]
    fn a_call_that_the_request_itself_interrupts_is_finished() {
        let mut calls = 0;
        let got = retry_until(
            || true,
            || {
                calls += 1;
                if calls < 3 { Err(Errno::EINTR) } else { Ok(7) }
            },
        );
        assert_eq!((got.ok(), calls), (Some(7), 3));
    }

    #[test]
    fn a_lost_write_is_no_refusal() {
        for e in [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::ESPIPE] {
            assert!(!is_refusal(&e.into()), "{e}");
        }
        for e in [
            Errno::EINVAL,
            Errno::EOPNOTSUPP,
            Errno::EPERM,
            Errno::EACCES,
        ] {
            assert!(is_refusal(&e.into()), "{e}");
        }
    }

    #[test]
    fn space_and_media_errors_are_no_reason_to_try_another_way() {
        for e in [
            Errno::ENOSPC,
            Errno::EIO,
            Errno::EFBIG,
            Errno::EDQUOT,
            Errno::EACCES,
        ] {
            assert_eq!(classify(&e.into()), ErrnoClass::Fatal, "{e}");
        }
    }
}
