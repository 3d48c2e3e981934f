//! Moves the pages of a pipe to an O_DIRECT destination by splice(2), without copying their bytes.
//!
//! A direct write takes whole pages only, and a page in a pipe is whole or not as its writer wrote it. So pages are first moved
//! into a pipe of this process until that is full: it has one slot for each page, so all of them are whole if it then holds as
//! many bytes as fit, and only then it is written. That also frees the source for its writer while the device works. Pages that
//! are not whole, and those of the end, are read.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::fcntl::SpliceFFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::cpu_budget::measure_call;
use super::super::engine::SPLICE;
use super::super::errno_class::{Endpoint, EngineError, retry};
use super::super::error::Error;
use super::super::event::Event;
use super::super::page_pipe::{PagePipe, enlarge_pipe};
use super::chunk::{fall_back, start_row, wait_for_tokens};
use super::direct_check::verify_direct;
use super::room_check;
use super::{FileCopy, report};

/// Smallest capacity in bytes of a pipe from which pages are written: with 64 KiB a write of so little costs more than
/// reading 1 MiB saves.
const MIN_CAPACITY: usize = 256 << 10;

/// Times in a row that pages may be found not to be whole. A core dump begins with small writes, and continues with whole pages.
const MAX_MISFITS: u32 = 3;

/// Longest time in milliseconds that a wait for the writer may take before the listener is asked again whether to stop.
const POLL_TIMEOUT_MS: u16 = 50;

/// Time that the writer gets to fill the pipe further, after it was found empty. Without it, this program is woken for each
/// write of 128 KiB: 1.9 times as many switches.
const GATHER_PAUSE: Duration = Duration::from_micros(100);

/// The pages that were taken from the source and are not written yet.
pub(super) struct PipeCopy {
    pages: PagePipe,
    held: usize,
    misfits: u32,
}

/// What a pipe of this process was filled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathered {
    /// It holds whole pages only, and is full.
    WholePages,
    /// It is full, and some of its pages are not whole.
    PartialPages,
    /// The rest is to be read: the source has ended, or its pages cannot be taken.
    Rest,
}

/// Enlarges a source that is a pipe, and prepares to move its pages, if the plan is to do so and it is possible.
pub(super) fn prepare(run: &mut FileCopy<'_>) -> Result<Option<PipeCopy>, Error> {
    if run.plan.job.source_info.is_pipe {
        // Whatever the answer, the pipe serves as it is.
        let _ = enlarge_pipe(run.endpoints.source);
    }
    if run.engines.current() != SPLICE {
        return Ok(None);
    }
    match PagePipe::new() {
        Ok(pages) if pages.capacity() >= MIN_CAPACITY => Ok(Some(PipeCopy {
            pages,
            held: 0,
            misfits: 0,
        })),
        Ok(pages) => {
            let why = format!("a pipe of {} bytes is all there is", pages.capacity());
            fall_back(run, Endpoint::Source, io::Error::other(why)).map(|()| None)
        }
        Err(e) => fall_back(run, Endpoint::Source, e).map(|()| None),
    }
}

impl PipeCopy {
    /// Moves pages as long as the plan is to do so and they are whole. Returns how many bytes were taken and are to be
    /// [`read`](Self::read_held): none are left in the source before them.
    pub(super) fn copy_whole_pages(&mut self, run: &mut FileCopy<'_>) -> Result<usize, Error> {
        while run.engines.current() == SPLICE {
            match self.gather(run)? {
                Gathered::WholePages => {
                    self.misfits = 0;
                    self.write_held(run)?;
                }
                Gathered::PartialPages => {
                    self.note_misfit(run)?;
                    break;
                }
                Gathered::Rest => break,
            }
        }
        Ok(self.held)
    }

    /// Reads all bytes that were taken into the first bytes of `buffer`.
    pub(super) fn read_held(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let read = self.pages.read(&mut buffer[..self.held]);
        self.held = 0;
        read.map_err(|e| Error::Io(Endpoint::Source, e))
    }

    /// Takes pages from the source until no more fit, or it has ended.
    fn gather(&mut self, run: &mut FileCopy<'_>) -> Result<Gathered, Error> {
        let source = run.endpoints.source;
        let failed = |e| Error::Io(Endpoint::Source, e);
        let mut was_ready = false;
        while self.held < self.pages.capacity() {
            let free = self.pages.capacity() - self.held;
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            match self.pages.fill(source, None, free, flags) {
                Ok(0) => return Ok(Gathered::Rest),
                Ok(n) => {
                    self.held += n;
                    was_ready = false;
                    report(run)?;
                }
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                    match EngineError::new(Endpoint::Source, e) {
                        EngineError::Unsupported(side, e) => fall_back(run, side, e)?,
                        fault => return Err(run.to_error(fault)),
                    }
                    return Ok(Gathered::Rest);
                }
                // There are bytes to take, so it is this pipe that has no slot left.
                Err(_) if was_ready && self.held > 0 => return Ok(Gathered::PartialPages),
                Err(_) => {
                    was_ready = ready(source).map_err(failed)?;
                    if was_ready {
                        std::thread::sleep(GATHER_PAUSE);
                    } else {
                        report(run)?;
                    }
                }
            }
        }
        Ok(Gathered::WholePages)
    }

    /// Writes the pages that were taken. Where they cannot be written in this way, the next engine is at work afterwards.
    fn write_held(&mut self, run: &mut FileCopy<'_>) -> Result<(), Error> {
        while self.held > 0 {
            let chunk = run.plan.options.chunk.unwrap_or(self.held);
            let most = run.engines.affordable_bytes().min(chunk).min(self.held);
            let taken = wait_for_tokens(run, run.limit_chunk(most) as u64)?;
            let granted = room_check::grant(run, taken)?;
            let before = run.cursor.pos;
            let written = self.write_some(run, granted as usize);
            let moved = run.cursor.pos - before;
            room_check::settle(run, moved);
            if let Some(pace) = run.plan.job.pace {
                pace.record_moved(taken, moved);
            }
            for text in run.endpoints.notes.drain(..) {
                run.listener.event(&Event::Note { text });
            }
            match written {
                Ok(()) => {}
                Err(EngineError::Unsupported(side, e)) => return fall_back(run, side, e),
                Err(fault) => return Err(run.to_error(fault)),
            }
        }
        Ok(())
    }

    /// Writes at most `len` bytes of the pages that were taken, and accounts for what was written even if it fails then.
    fn write_some(&mut self, run: &mut FileCopy<'_>, len: usize) -> Result<(), EngineError> {
        start_row(run)?;
        let (dest, pos) = (run.endpoints.dest.file, run.cursor.pos);
        let (moved, cost) = measure_call(|| self.pages.drain(dest, pos, len));
        run.engines.adapt(len as u64, cost.cpu);
        let moved = moved.map_err(|e| EngineError::new(Endpoint::Dest, e))?;
        if moved == 0 {
            let why = io::Error::other("the call moved nothing");
            return Err(EngineError::Unsupported(Endpoint::Dest, why));
        }
        self.held -= moved;
        let verified = verify_direct(run, moved);
        run.account.add(SPLICE, moved as u64);
        run.account.peak_in_flight = run.account.peak_in_flight.max(moved as u64);
        run.cursor.pos += moved as u64;
        verified
    }

    /// Counts that pages were not whole, and gives up after some times in a row.
    fn note_misfit(&mut self, run: &mut FileCopy<'_>) -> Result<(), Error> {
        self.misfits += 1;
        if self.misfits < MAX_MISFITS {
            return Ok(());
        }
        let why = io::Error::other("the pages in the pipe are not whole, so their bytes are read");
        fall_back(run, Endpoint::Source, why)
    }
}

/// Returns whether a read would return at once.
pub(super) fn ready(source: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    let n = retry(|| poll(&mut fds, PollTimeout::from(POLL_TIMEOUT_MS)))?;
    Ok(n > 0)
}
