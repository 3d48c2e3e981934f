//! Lines at the cursor of the terminal that are drawn again in place, whatever happens to its size meanwhile.
//!
//! The cursor rests at the start of the first line. When a terminal becomes narrower, some wrap the lines that are
//! there and others cut them off; in both the cursor stays where the frame begins, so that erasing from it to the end
//! of the screen leaves nothing of the old frame. A cursor below the frame would need the number of rows, which only
//! the terminal knows.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use nix::unistd::{getpgrp, tcgetpgrp};
use terminal_size::{Height, Width, terminal_size_of};

use super::signal_handlers;
use super::text_width::shorten_end;
use crate::sys::terminal_stop;

/// The size that is assumed of a terminal that does not know its own.
const DEFAULT_SIZE: ScreenSize = ScreenSize {
    columns: 80,
    rows: 24,
};

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScreenSize {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl ScreenSize {
    /// Asks the terminal at standard error. It is asked before each frame, since a window may be resized at any moment.
    #[must_use]
    pub(crate) fn of_stderr() -> Self {
        match terminal_size_of(io::stderr()) {
            Some((Width(columns), Height(rows))) if columns > 0 && rows > 0 => Self {
                columns: columns.into(),
                rows: rows.into(),
            },
            _ => DEFAULT_SIZE,
        }
    }

    /// Returns the columns that a line may take: all but the last, in which some terminals wrap at once.
    #[must_use]
    pub(crate) fn line_width(self) -> usize {
        self.columns.saturating_sub(1).max(1)
    }
}

/// Returns whether standard error is a terminal that understands control sequences.
#[must_use]
pub(crate) fn can_redraw() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    io::stderr().is_terminal() && !term.is_empty() && term != OsStr::new("dumb")
}

/// The lines that are on the terminal now.
#[derive(Debug, Default)]
pub(crate) struct TerminalFrame {
    is_drawn: bool,
    /// Whether anything was drawn before, so that Ctrl-Z is prepared for.
    is_prepared: bool,
}

impl TerminalFrame {
    /// Draws these lines in place of those that are there. Lines that do not fit are cut off.
    ///
    /// A job in the background draws nothing, since the cursor is where the user types.
    pub(crate) fn draw(&mut self, lines: &[String], size: ScreenSize) {
        if is_in_background() {
            return;
        }
        if !std::mem::replace(&mut self.is_prepared, true) {
            signal_handlers::erase_before_stop();
        }
        self.is_drawn = !lines.is_empty();
        terminal_stop::set_drawn(self.is_drawn);
        write_terminal(&redraw_sequence(lines, size));
    }

    /// Removes the lines, before something else is written there.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            write_terminal("\r\x1b[J");
            terminal_stop::set_drawn(false);
        }
    }
}

/// Returns whether another job has the terminal. A terminal that is not the controlling one has no jobs.
fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground != getpgrp())
}

/// Returns the text that draws the lines from the row of the cursor, erases the rest of the screen, and puts the cursor
/// back.
fn redraw_sequence(lines: &[String], size: ScreenSize) -> String {
    let mut text = String::new();
    let shown = lines.len().min(size.rows);
    for (i, line) in lines[..shown].iter().enumerate() {
        let end = if i + 1 < shown { "\x1b[K\n" } else { "" };
        let line = shorten_end(line, size.line_width());
        let _ = write!(text, "\r{line}{end}");
    }
    text.push_str("\x1b[J");
    if shown > 1 {
        let _ = write!(text, "\x1b[{}A", shown - 1);
    }
    text.push('\r');
    text
}

/// Writes to the terminal in one call, so that it shows no half of a frame. A failure is ignored, since there is no
/// place to report it.
fn write_terminal(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
