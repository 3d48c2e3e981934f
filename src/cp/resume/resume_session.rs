//! One copy that can go on after an interruption, from its state to its end.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::UNIX_EPOCH;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::fdatasync;

use super::super::at_path::{AtPath, last_component};
use super::super::dest::Destination;
use super::super::dest::resolve_link::resolve_nofollow;
use super::super::error::{AnewReason, Error, Operation, Refusal};
use super::super::file_status::{FileId, file_id, is_regular};
use super::copy_state::{CopyState, Durable, FileVersion};
use super::state_file::{StateFile, UnusableState};
use super::whole_files::WholeFiles;
use crate::sys::file::try_lock;
use crate::transfer::errno_class::{Endpoint, retry};
use crate::transfer::{self, CopyFailure, CopyListener, Event, Progress};

/// A copy goes on at a multiple of this: a whole number of units of every file system.
const RESUME_UNIT: u64 = 1 << 20;

/// A copy with a state file.
#[derive(Debug)]
pub(in crate::cp) struct ResumeSession {
    file: StateFile,
    source: FileVersion,
    state: RefCell<Option<CopyState>>,
    /// Whether the open destination has bytes of the last run, which must stay whatever fails before the first new one.
    has_part: Cell<bool>,
}

impl ResumeSession {
    /// Reads the state of the last copy of `from` to `dest`. Returns also why an existing state cannot be used.
    ///
    /// # Errors
    /// The source or the destination is no regular file, or the directory of the destination cannot be opened.
    pub(in crate::cp) fn begin(
        (source, from): (&AtPath, &FileStat),
        (dest, there): (&AtPath, Option<&FileStat>),
    ) -> Result<(Self, Option<AnewReason>), Error> {
        if is_state_name(last_component(dest.shown()).as_bytes()) {
            let path = dest.shown();
            return Err(Error::refused(Refusal::ResumeStateName, path, path));
        }
        let special = match there {
            _ if !is_regular(from) => Some(source),
            Some(there) if !is_regular(there) => Some(dest),
            _ => None,
        };
        if let Some(special) = special {
            let path = special.shown();
            return Err(Error::refused(Refusal::ResumeSpecial, path, path));
        }
        let entry = resolve_nofollow(dest).map_err(|e| dest.error(Operation::OpenDest, e))?;
        let file = StateFile::beside(entry);
        let (state, why) = match file.load() {
            Ok(None) => (None, None),
            Ok(Some(state)) if state.source == FileVersion::of(from) => (Some(state), None),
            Ok(Some(_)) => (None, Some(AnewReason::SourceChanged)),
            Err(UnusableState::Text(error)) => (None, Some(error.into())),
            Err(UnusableState::NotOurs) => (None, Some(AnewReason::StateNotOurs(file.shown()))),
            Err(UnusableState::Unreadable(e)) => {
                (None, Some(AnewReason::StateUnreadable(file.shown(), e)))
            }
        };
        let session = Self {
            file,
            source: FileVersion::of(from),
            state: RefCell::new(state),
            has_part: Cell::new(false),
        };
        Ok((session, why))
    }

    /// Returns the file at the destination, if the state says that it is the whole copy and it was not changed since.
    pub(in crate::cp) fn whole(
        &self,
        there: Option<&FileStat>,
        set: &WholeFiles,
    ) -> Option<FileId> {
        let state = self.state.borrow();
        let (state, there) = (state.as_ref()?, there?);
        let now = Durable::Whole {
            modified: (there.st_mtime, there.st_mtime_nsec),
            size: there.st_size,
        };
        let is_whole = state.durable == now && state.dest == file_id(there);
        if is_whole {
            set.note(self.file.clone());
        }
        is_whole.then_some(state.dest)
    }

    /// Returns the temporary name and the inode of the part that is to be completed, with --atomic.
    pub(in crate::cp) fn with_part<T>(
        &self,
        open: impl FnOnce(Option<(&OsStr, FileId)>) -> T,
    ) -> T {
        let state = self.state.borrow();
        let part = state
            .as_ref()
            .and_then(|state| Some((state.part.as_deref()?, state.dest)));
        open(part)
    }

    /// Begins to write to an open destination: goes on in it if it is the one of the state, and stores the state. Returns
    /// why it is copied anew, where there was a state.
    ///
    /// # Errors
    /// The state cannot be stored, or another process copies to this file, so nothing must be written.
    pub(in crate::cp) fn attach(
        &self,
        open: &mut Destination,
    ) -> Result<Option<AnewReason>, Error> {
        if !open.is_atomic() {
            // A second run of the same command would cut the file behind the first. A part is locked already.
            match try_lock(&open.file) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(self.error(e)),
                // A file system without locks is no reason to refuse.
                Ok(()) | Err(_) => {}
            }
        }
        let now = fstat(&open.file).map_err(|e| self.error(e))?;
        let born = birth_time(&open.file);
        let (mut at, mut why) = (0, None);
        if let Some(state) = &*self.state.borrow() {
            match state.durable {
                Durable::Until(0) => {
                    let is_same = state.dest == file_id(&now) && state.born == born;
                    open.created |= state.created && is_same && now.st_size == 0;
                }
                Durable::Until(_) if state.dest != file_id(&now) || state.born != born => {
                    why = Some(AnewReason::DestReplaced);
                }
                Durable::Until(durable) if now.st_size.cast_unsigned() < durable => {
                    why = Some(AnewReason::DestShorter);
                }
                Durable::Until(durable) => {
                    at = durable - durable % RESUME_UNIT;
                    self.has_part.set(at > 0);
                    open.created |= state.created;
                }
                // It is whole, and is copied again to be compared or to be asked about.
                Durable::Whole { .. } if state.dest == file_id(&now) => {}
                Durable::Whole { .. } => why = Some(AnewReason::DestReplaced),
            }
        }
        let state = CopyState {
            source: self.source,
            dest: file_id(&now),
            born,
            created: open.created,
            part: open.part_name(),
            durable: Durable::Until(at),
        };
        self.file.store(&state).map_err(|e| self.error(e))?;
        self.state.replace(Some(state));
        Ok(why)
    }

    /// Returns whether the destination has bytes of the last run that this one was to go on with.
    pub(in crate::cp) fn has_part(&self) -> bool {
        self.has_part.get()
    }

    /// Returns the offset at which the copy goes on.
    pub(in crate::cp) fn at(&self) -> u64 {
        match self.state.borrow().as_ref().map(|state| state.durable) {
            Some(Durable::Until(at)) => at,
            _ => 0,
        }
    }

    fn record(&self, durable: Durable) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let Some(state) = state.as_mut() else {
            return Ok(());
        };
        state.durable = durable;
        self.file.store(state)
    }

    /// Records what a failed copy has brought to the disk, if another run can go on there. Returns whether it can: then
    /// what was written must stay.
    pub(in crate::cp) fn note_failure(&self, failure: &CopyFailure, dest: &File) -> bool {
        if !failure.begun && self.has_part() {
            return true;
        }
        let goes_on = matches!(
            failure.error,
            transfer::Error::Interrupted
                | transfer::Error::Io(..)
                | transfer::Error::DurablePoint(_)
        );
        let reached = if failure.begun { failure.copied } else { 0 };
        let durable = reached - reached % RESUME_UNIT;
        if goes_on
            && !may_have_lost(&failure.error)
            && durable > self.at()
            && retry(|| fdatasync(dest)).is_ok()
        {
            // The last durable point stays otherwise.
            let _ = self.record(Durable::Until(durable));
        }
        let is_kept = goes_on && self.at() > 0;
        if !is_kept {
            // Without a byte that is good there is nothing to go on with.
            let _ = self.file.remove();
        }
        is_kept
    }

    /// Ends a copy that has its name: removes the state, or has it say that the file is whole.
    ///
    /// # Errors
    /// The state can be neither stored nor removed.
    pub(in crate::cp) fn complete(&self, dest: &AtPath, set: &WholeFiles) -> Result<(), Error> {
        if !set.is_kept() {
            return self.file.remove();
        }
        let now = dest
            .stat(true)
            .map_err(|e| dest.error(Operation::Stat, e))?;
        if let Some(state) = self.state.borrow_mut().as_mut() {
            state.part = None;
            state.dest = file_id(&now);
        }
        let whole = Durable::Whole {
            modified: (now.st_mtime, now.st_mtime_nsec),
            size: now.st_size,
        };
        self.record(whole).map_err(|e| self.error(e))?;
        set.note(self.file.clone());
        Ok(())
    }

    /// Removes the state of a copy that did not get its name, or that was not to get it.
    pub(in crate::cp) fn discard(&self) -> Result<(), Error> {
        self.file.remove()
    }

    fn error(&self, error: impl Into<io::Error>) -> Error {
        Error::io(Operation::WriteState, self.file.shown(), error)
    }
}

/// Returns whether bytes may be lost that were written before an error: the kernel tells of a failed write to the disk once,
/// and the next sync succeeds.
fn may_have_lost(error: &transfer::Error) -> bool {
    match error {
        transfer::Error::DurablePoint(_) => true,
        transfer::Error::Io(Endpoint::Dest, e) => {
            let errno = e.raw_os_error().map(Errno::from_raw);
            !matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT))
        }
        _ => false,
    }
}

/// Returns whether a destination has the name of a state, which the state of the file of that name would replace.
fn is_state_name(name: &[u8]) -> bool {
    name.starts_with(b".")
        && (name.ends_with(b".mmapcp-state") || name.ends_with(b".mmapcp-state~"))
}

/// Returns when a file was made, in nanoseconds since 1970, where its file system tells. A new file that has got the number of
/// an old inode has another time.
fn birth_time(file: &File) -> Option<i64> {
    let made = file.metadata().ok()?.created().ok()?;
    let since = made.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Records each durable point of a copy, and passes everything else on.
pub(in crate::cp) struct ResumeListener<'a> {
    pub(in crate::cp) inner: &'a mut dyn CopyListener,
    pub(in crate::cp) session: &'a ResumeSession,
}

impl CopyListener for ResumeListener<'_> {
    fn listens(&self) -> bool {
        self.inner.listens()
    }

    fn event(&mut self, event: &Event) {
        self.inner.event(event);
    }

    fn progress(&mut self, progress: &Progress) {
        self.inner.progress(progress);
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        let at = at - at % RESUME_UNIT;
        self.session.record(Durable::Until(at))?;
        self.inner.durable(at)
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }
}
