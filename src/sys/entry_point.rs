//! The C function `main` of `mmapcp`, in place of the one of the Rust runtime.
//!
//! Before it calls `main`, the Rust runtime reads /proc/self/maps to find the end of the stack, installs handlers for SIGSEGV and
//! SIGBUS on a stack of their own, and polls the standard streams: 22 of 178 system calls of the copy of a small file. A
//! stack overflow ends the program with SIGSEGV then, without the runtime's sentence and its SIGABRT.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;

/// The exit status that the Rust runtime gives a program whose `main` panicked.
const PANIC_STATUS: u8 = 101;

/// Defines the C function `main` of a program marked with `#![no_main]`. It calls a function, which takes the arguments and
/// returns the exit status.
#[macro_export]
macro_rules! define_c_main {
    ($run:path) => {
        // The name is the one that the C library calls, and no other item of the program has it.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments that the C library calls `main` with.
            unsafe { $crate::sys::entry_point::run(argc, argv, $run) }
        }
    };
}

/// Calls `run` with the arguments of the process, and ends the process with the status that it returns.
///
/// # Safety
/// `argv` must point to `argc` pointers to strings, as those that the C library passes to `main`.
pub unsafe fn run(argc: c_int, argv: *const *const c_char, run: fn(Vec<OsString>) -> u8) -> ! {
    // SAFETY: ignoring a signal is no code of ours. A write to a pipe that nobody reads then fails with EPIPE, as in each
    // program with the Rust runtime.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let words = (0..usize::try_from(argc).unwrap_or_default()).map(|n| {
        // SAFETY: by the contract of this function.
        let word = unsafe { CStr::from_ptr(*argv.add(n)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    let words = words.collect();
    let status = catch_unwind(|| run(words)).unwrap_or(PANIC_STATUS);
    // It flushes standard output as the runtime does.
    std::process::exit(c_int::from(status))
}
