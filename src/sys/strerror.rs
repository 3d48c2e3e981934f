//! Errors in strerror's words alone, as cp prints them.

use std::io;

/// What an error says, without std's "(os error 28)".
#[must_use]
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error().and(text.rfind(" (os error")) {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
