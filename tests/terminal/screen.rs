//! A pseudo-terminal with an emulator behind it, so that a test reads what a user would see.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU16;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vt100::Parser;

use crate::support::wait_until;

/// What a terminal does with rows that are wider than a window that was made narrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnShrink {
    /// It cuts them off, as xterm and the console do.
    Cut,
    /// It wraps them into more rows, as most terminals of desktops do.
    Reflow,
}

/// A terminal in which a program runs.
pub(super) struct Screen {
    child: Child,
    master: File,
    emulator: Arc<Mutex<Emulator>>,
    reader: Option<JoinHandle<()>>,
}

struct Emulator {
    parser: Parser,
    /// All that was written to the terminal.
    log: Vec<u8>,
}

fn non_zero(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

fn parser(rows: u16, columns: u16) -> Parser {
    Parser::new(non_zero(rows), non_zero(columns), 0)
}

impl Screen {
    /// Starts a program in a terminal of this size, on which `before` was written earlier.
    pub(super) fn start(command: &mut Command, (rows, columns): (u16, u16), before: &str) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let slave = || pty.slave.try_clone().unwrap();
        command.stdin(slave()).stdout(slave()).stderr(slave());
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        let child = command.spawn().unwrap();
        // The command keeps the descriptors that it was given; the master ends when none is left.
        let null = || File::open("/dev/null").unwrap();
        command.stdin(null()).stdout(null()).stderr(null());
        let mut parser = parser(rows, columns);
        parser.process(before.as_bytes());
        let emulator = Arc::new(Mutex::new(Emulator {
            parser,
            log: Vec::new(),
        }));
        let master = File::from(pty.master);
        let reader = Some(read_in_thread(&master, &emulator));
        drop(pty.slave);
        Self {
            child,
            master,
            emulator,
            reader,
        }
    }

    /// Returns the rows that are not empty, without blanks at their ends.
    pub(super) fn rows(&self) -> Vec<String> {
        let emulator = self.emulator.lock().unwrap();
        text_rows(&emulator.parser)
    }

    /// Returns the same rows as they are at one moment, and whether a line went on in the next row then.
    pub(super) fn rows_and_wraps(&self) -> (Vec<String>, bool) {
        let emulator = self.emulator.lock().unwrap();
        let screen = emulator.parser.screen();
        let wraps = (0..screen.size().0.get()).any(|row| screen.row_wrapped(row));
        (text_rows(&emulator.parser), wraps)
    }

    /// Returns all bytes that were written so far.
    pub(super) fn log(&self) -> Vec<u8> {
        self.emulator.lock().unwrap().log.clone()
    }

    /// Returns whether the program has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal to the program.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Shows what another program writes.
    pub(super) fn print(&self, text: &str) {
        let mut emulator = self.emulator.lock().unwrap();
        emulator.parser.process(text.as_bytes());
    }

    /// Returns whether the program is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Resizes the window.
    pub(super) fn resize(&self, (rows, columns): (u16, u16), on_shrink: OnShrink) {
        let mut emulator = self.emulator.lock().unwrap();
        match on_shrink {
            OnShrink::Cut => emulator
                .parser
                .screen_mut()
                .set_size(non_zero(rows), non_zero(columns)),
            OnShrink::Reflow => emulator.parser = reflowed(&emulator.parser, rows, columns),
        }
        rustix::termios::tcsetwinsize(
            &self.master,
            rustix::termios::Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )
        .unwrap();
    }

    /// Waits until the rows meet a condition, and returns them.
    pub(super) fn wait_for(&self, what: &str, met: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut rows = Vec::new();
        wait_until(what, || {
            rows = self.rows();
            met(&rows)
        });
        rows
    }

    /// Waits for the end of the program and of its output.
    pub(super) fn finish(&mut self) -> ExitStatus {
        wait_until("the end of the program", || {
            self.child.try_wait().unwrap().is_some()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_in_thread(master: &File, emulator: &Arc<Mutex<Emulator>>) -> JoinHandle<()> {
    let mut output = master.try_clone().unwrap();
    let emulator = Arc::clone(emulator);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // A terminal that nobody has open any more is EIO.
        while let Ok(n @ 1..) = output.read(&mut bytes) {
            let mut emulator = emulator.lock().unwrap();
            emulator.parser.process(&bytes[..n]);
            emulator.log.extend_from_slice(&bytes[..n]);
        }
    })
}

fn text_rows(parser: &Parser) -> Vec<String> {
    let screen = parser.screen();
    let rows = screen.rows(0, screen.size().1.get());
    let rows = rows.map(|row| row.trim_end().to_owned());
    rows.filter(|row| !row.is_empty()).collect()
}

/// Returns an emulator of the new size with the rows of an old one, wrapped where they are too wide. The cursor stays at
/// the character at which it was.
fn reflowed(old: &Parser, rows: u16, columns: u16) -> Parser {
    let (cursor_row, cursor_column) = old.screen().cursor_position();
    let mut new = parser(rows, columns);
    let mut cursor = (0, 0);
    let width = old.screen().size().1.get();
    for (i, row) in old.screen().rows(0, width).enumerate() {
        if i == usize::from(cursor_row) {
            cursor = new.screen().cursor_position();
            cursor = (cursor.0 + cursor_column / columns, cursor_column % columns);
        }
        new.process(row.trim_end().as_bytes());
        if new.screen().cursor_position().0 + 1 < rows {
            new.process(b"\r\n");
        }
    }
    new.process(format!("\x1b[{};{}H", cursor.0 + 1, cursor.1 + 1).as_bytes());
    new
}
