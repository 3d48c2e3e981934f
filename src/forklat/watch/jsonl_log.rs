//! The log of `--export-jsonl`: a thread appends lines to a file, so that a disk which does not answer stops the log and not
//! the watch.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::forklat::error::{ForklatError, failed};
use crate::report::quote::quote;
use crate::sys::std_streams;

/// Number of lines that may wait for the file, each about 1.5 KiB.
const MAX_WAITING: usize = 256;

/// Stack of the thread in bytes, all of which is locked in memory.
const STACK_BYTES: usize = 64 << 10;

/// Longest time that the last lines are waited for at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// A log that is being written.
#[derive(Debug)]
pub(super) struct JsonlLog {
    name: String,
    lines: SyncSender<String>,
    thread: JoinHandle<io::Result<()>>,
    lost: u64,
}

impl JsonlLog {
    /// Opens the file, to which lines are appended, or standard output for `-`, and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub(super) fn open(path: &Path) -> Result<Self, ForklatError> {
        let name = match is_standard_output(path) {
            true => "standard output".to_owned(),
            false => quote(path),
        };
        let mut file = open(path).map_err(|e| failed(format!("write {name}"), e))?;
        let (lines, waiting) = sync_channel::<String>(MAX_WAITING);
        let write = move || {
            waiting
                .iter()
                .try_for_each(|line| file.write_all(line.as_bytes()))
        };
        let thread = Builder::new().stack_size(STACK_BYTES).spawn(write);
        Ok(Self {
            thread: thread.map_err(|e| failed("start a thread", e))?,
            name,
            lines,
            lost: 0,
        })
    }

    /// Adds a line. It is lost if the file takes no more or has too many waiting.
    pub(super) fn add(&mut self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Returns the number of lines that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Waits until all lines are written, at most a second.
    ///
    /// # Errors
    /// Lines that are not in the file, and why.
    pub(super) fn finish(self) -> Result<(), ForklatError> {
        let Self {
            name,
            lines,
            thread,
            lost,
        } = self;
        drop(lines);
        let asked = Instant::now();
        while !thread.is_finished() && asked.elapsed() < FINISH_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            let message = format!("cannot write {name}: it takes no more lines");
            return Err(ForklatError::Refused(message));
        }
        let written = thread.join();
        let written = written.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
        written.map_err(|e| failed(format!("write {name}"), e))?;
        match lost {
            0 => Ok(()),
            lost => Err(ForklatError::Refused(format!(
                "{lost} lines are missing in {name}, which did not take them in time"
            ))),
        }
    }
}

/// Returns whether the path stands for standard output.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

fn open(path: &Path) -> io::Result<File> {
    if is_standard_output(path) {
        let out = std_streams::stdout()?;
        return out.as_fd().try_clone_to_owned().map(File::from);
    }
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{JsonlLog, MAX_WAITING};

    #[test]
    fn lines_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for line in ["one\n", "two\n"] {
            let mut log = JsonlLog::open(&path).unwrap();
            log.add(line.into());
            log.finish().unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert!(JsonlLog::open(dir.path()).is_err());
    }

    #[test]
    fn a_file_that_takes_nothing_is_an_error_at_the_end() {
        let mut log = JsonlLog::open(Path::new("/dev/full")).unwrap();
        log.add("line\n".into());
        let error = log.finish().unwrap_err().to_string();
        assert_eq!(error, "cannot write '/dev/full': No space left on device");
    }

    /// A pipe that nobody reads stands for a disk that does not answer.
    #[test]
    fn a_file_that_does_not_answer_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let silent = fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut log = JsonlLog::open(&path).unwrap();
        for _ in 0..MAX_WAITING + 100 {
            log.add("x".repeat(4096));
        }
        assert!(log.lost() > 0);
        let error = log.finish().unwrap_err().to_string();
        assert!(error.ends_with("it takes no more lines"), "{error}");
        drop(silent);
    }
}
