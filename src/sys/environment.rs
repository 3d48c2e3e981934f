//! Takes variables out of the environment of this process.
#![allow(unsafe_code)]

use std::ffi::OsString;

/// Returns the value of a variable and removes it, so that no program that this process starts has it. Must be called
/// while this process has one thread, since the C library reads the environment without a lock.
#[must_use]
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: no other thread reads the environment, since there is none.
    unsafe { std::env::remove_var(name) };
    Some(value)
}
