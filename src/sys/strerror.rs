//! The messages of strerror(3) without further text, as cp prints them.

use std::io;

/// Returns the message of an error, without the "(os error 28)" that std appends.
#[must_use]
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error().and(text.rfind(" (os error")) {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
