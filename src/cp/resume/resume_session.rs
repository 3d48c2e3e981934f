//! One copy that can go on after an interruption, from its state to its end.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use nix::sys::stat::{FileStat, fstat};
use nix::unistd::fdatasync;

use super::super::at_path::{AtPath, last_component};
use super::super::dest::Destination;
use super::super::dest::resolve_link::resolve_nofollow;
use super::super::error::{AnewReason, DrainObstacle, Error, Operation, Refusal};
use super::super::file_status::{FileId, file_id, is_regular};
use super::copy_state::{CopyState, DrainedSource, Durable, FileVersion};
use super::source_mark::mark_source;
use super::state_file::{StateFile, UnusableState};
use super::whole_files::WholeFiles;
use crate::sys::file::try_lock;
use crate::transfer::errno_class::{Endpoint, errno_of, is_no_space, retry};
use crate::transfer::stop_reason::StopReason;
use crate::transfer::{self, CopyFailure, CopyListener, Event, Progress, RESUME_UNIT};

/// A copy with a state file.
#[derive(Debug)]
pub(in crate::cp) struct ResumeSession {
    file: StateFile,
    source: FileVersion,
    /// The path of the source, as messages show it.
    from: PathBuf,
    /// What identifies the source where it is to be drained.
    drained: Option<DrainedSource>,
    state: RefCell<Option<CopyState>>,
    /// Whether the open destination has bytes of the last run, which must stay whatever fails before the first new one.
    has_part: Cell<bool>,
}

impl ResumeSession {
    /// Reads the state of the last copy of `from` to `dest`. Returns also why an existing state cannot be used. `drained`
    /// identifies a source that is to be drained, and `freed_into` is the file that has what was freed of it already.
    ///
    /// # Errors
    /// The source or the destination is no regular file, or the directory of the destination cannot be opened; a copy
    /// anew would lose what was freed of a source.
    pub(in crate::cp) fn begin(
        (source, from): (&AtPath, &FileStat),
        (dest, there): (&AtPath, Option<&FileStat>),
        drained: Option<DrainedSource>,
        freed_into: Option<PathBuf>,
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
        let version = FileVersion::of(from);
        let usable = usable_state(&file, &version, drained.as_ref());
        let (state, why) = match (usable, freed_into) {
            (Ok((state, _)), Some(path)) if !state.as_ref().is_some_and(CopyState::is_freed) => {
                Err(DrainObstacle::FreedInto(path))
            }
            (usable, _) => usable,
        }
        .map_err(|obstacle| Error::drain(source.shown(), dest.shown(), obstacle))?;
        let session = Self {
            file,
            source: version,
            from: source.shown().into(),
            drained,
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
        let (at, why) = self.find_part(open, &now, born);
        let last = self.state.borrow().clone();
        let freed = last.filter(CopyState::is_freed);
        if let (Some(_), Some(why)) = (&freed, why.as_ref()) {
            self.has_part.set(true);
            return Err(self.refuse(DrainObstacle::Record(why.clone())));
        }
        let drained = self.drained.as_ref().map(|drained| DrainedSource {
            is_verified: drained.is_verified
                && freed
                    .as_ref()
                    .and_then(|s| s.drained.as_ref())
                    .is_none_or(|d| d.is_verified),
            ..drained.clone()
        });
        let state = CopyState {
            source: freed.as_ref().map_or(self.source, |state| state.source),
            dest: file_id(&now),
            born,
            created: open.created,
            part: open.part_name(),
            durable: match &freed {
                Some(state) if state.has_all() => state.durable,
                _ => Durable::Until(at),
            },
            drained,
        };
        self.store(&state).map_err(|e| self.error(e))?;
        self.state.replace(Some(state));
        Ok(why)
    }

    /// Returns the offset at which the copy goes on in an open destination, or why it is made anew.
    fn find_part(
        &self,
        open: &mut Destination,
        now: &FileStat,
        born: Option<i64>,
    ) -> (u64, Option<AnewReason>) {
        let state = self.state.borrow();
        let Some(state) = &*state else {
            return (0, None);
        };
        let is_same = state.dest == file_id(now);
        match state.durable {
            Durable::Until(0) => {
                let is_empty = state.born == born && now.st_size == 0;
                open.created |= state.created && is_same && is_empty;
                (0, None)
            }
            Durable::Until(_) if !is_same || state.born != born => {
                (0, Some(AnewReason::DestReplaced))
            }
            Durable::Until(durable) if now.st_size.cast_unsigned() < durable => {
                (0, Some(AnewReason::DestShorter))
            }
            Durable::Until(durable) => {
                let at = durable - durable % RESUME_UNIT;
                self.has_part.set(at > 0 || state.is_freed());
                open.created |= state.created;
                (at, None)
            }
            // It is whole, and is copied again to be compared or to be asked about.
            Durable::Whole { .. } if is_same => (0, None),
            Durable::Whole { .. } => (0, Some(AnewReason::DestReplaced)),
        }
    }

    /// Makes the error for a source that would be lost in part.
    fn refuse(&self, obstacle: DrainObstacle) -> Error {
        Error::drain(&self.from, self.file.dest().shown(), obstacle)
    }

    /// Returns whether all bytes of a source that is drained are durable, so that nothing is to be copied.
    pub(in crate::cp) fn has_all(&self) -> bool {
        let state = self.state.borrow();
        let state = state.as_ref();
        state.is_some_and(|state| state.is_freed() && state.has_all())
    }

    /// Returns whether the source may be freed in part.
    pub(in crate::cp) fn is_freed(&self) -> bool {
        self.state
            .borrow()
            .as_ref()
            .is_some_and(CopyState::is_freed)
    }

    /// Returns the modification time in seconds and nanoseconds that a source had before it was freed in part.
    pub(in crate::cp) fn modified_before(&self) -> Option<(i64, i64)> {
        let state = self.state.borrow();
        let state = state.as_ref().filter(|state| state.is_freed());
        state.map(|state| state.source.modified)
    }

    /// Returns the offset up to which a source may be freed that nothing was compared with, though that is wanted now.
    pub(in crate::cp) fn unverified_until(&self) -> Option<u64> {
        let wanted = self.drained.as_ref()?.is_verified;
        let state = self.state.borrow();
        let state = state.as_ref().filter(|state| wanted && state.is_freed())?;
        let is_verified = state.drained.as_ref()?.is_verified;
        (!is_verified).then(|| self.at())
    }

    /// Returns the bytes from the start that are on the disk and that the source may not have any more; 0 if it was not
    /// freed.
    pub(in crate::cp) fn freed_until(&self) -> u64 {
        match self.state.borrow().as_ref() {
            Some(state) if state.is_freed() => match state.durable {
                Durable::Until(at) => at,
                Durable::Whole { .. } => state.source.size.cast_unsigned(),
            },
            _ => 0,
        }
    }

    /// Records that all bytes of a drained source are durable under the name of the destination, and marks the source.
    ///
    /// # Errors
    /// The error of the call that failed.
    pub(in crate::cp) fn record_all(&self, source: &File) -> Result<(), Error> {
        let size = self.state.borrow().as_ref().map(|state| state.source.size);
        let all = Durable::Until(size.unwrap_or_default().cast_unsigned());
        self.record(all).map_err(|e| self.error(e))?;
        mark_source(source, self.entry().shown());
        Ok(())
    }

    /// Checks that the name of the destination still leads to the file that is written.
    ///
    /// # Errors
    /// It does not, or cannot be looked up.
    pub(in crate::cp) fn check_name(&self) -> io::Result<()> {
        let Some(written) = self.state.borrow().as_ref().map(|state| state.dest) else {
            return Ok(());
        };
        match self.entry().stat(true)? {
            now if file_id(&now) == written => Ok(()),
            _ => Err(io::Error::other("another process has replaced it")),
        }
    }

    /// Returns the entry of the destination that the state is beside.
    pub(in crate::cp) fn entry(&self) -> &AtPath {
        self.file.dest()
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
        let Some(last) = self.state.borrow().clone() else {
            return Ok(());
        };
        let state = CopyState { durable, ..last };
        self.store(&state)?;
        self.state.replace(Some(state));
        Ok(())
    }

    fn store(&self, state: &CopyState) -> io::Result<()> {
        match state.drained {
            Some(_) => self.file.store_durably(state),
            None => self.file.store(state),
        }
    }

    /// Records what a failed copy has brought to the disk, if another run can go on there. Returns whether it can: then
    /// what was written must stay.
    pub(in crate::cp) fn note_failure(&self, failure: &CopyFailure, dest: &File) -> bool {
        if !failure.begun && (self.has_part() || self.is_freed()) {
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
        let is_compared = self.drained.as_ref().is_some_and(|d| d.is_verified);
        if goes_on
            // What is durable was compared as well, then.
            && !is_compared
            && !may_have_lost(&failure.error)
            && durable > self.at()
            && retry(|| fdatasync(dest)).is_ok()
        {
            // The last durable point stays otherwise.
            let _ = self.record(Durable::Until(durable));
        }
        let is_kept = goes_on && self.at() > 0 || self.is_freed();
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

/// Reads the state of an interrupted copy. Returns it, or why it is not used, so that the source is copied anew.
///
/// # Errors
/// Why it cannot be copied anew: it or another source was freed in part.
fn usable_state(
    file: &StateFile,
    source: &FileVersion,
    drained: Option<&DrainedSource>,
) -> Result<(Option<CopyState>, Option<AnewReason>), DrainObstacle> {
    let (is_of_drain, why) = match file.load() {
        Ok(None) => return Ok((None, None)),
        Ok(Some(state)) if state.is_freed() => {
            return match drained {
                Some(drained) if state.is_of(source, drained) => Ok((Some(state), None)),
                None if state.source.is_same_file(source) => Err(DrainObstacle::Begun),
                _ => Err(DrainObstacle::OtherSource(file.shown())),
            };
        }
        Ok(Some(state)) if state.source == *source => return Ok((Some(state), None)),
        Ok(Some(_)) => (false, AnewReason::SourceChanged),
        Err(UnusableState::Text(error, is_of_drain)) => {
            (is_of_drain || drained.is_some(), error.into())
        }
        Err(UnusableState::NotOurs) => (drained.is_some(), AnewReason::StateNotOurs(file.shown())),
        Err(UnusableState::Unreadable(e)) => (
            drained.is_some(),
            AnewReason::StateUnreadable(file.shown(), Arc::new(e)),
        ),
    };
    match is_of_drain {
        true => Err(DrainObstacle::Record(why)),
        false => Ok((None, Some(why))),
    }
}

/// Returns whether bytes may be lost that were written before an error: the kernel tells of a failed write to the disk once,
/// and the next sync succeeds.
fn may_have_lost(error: &transfer::Error) -> bool {
    match error {
        transfer::Error::DurablePoint(_) => true,
        transfer::Error::Io(Endpoint::Dest, e) => !is_no_space(errno_of(e)),
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
pub(in crate::cp) fn birth_time(file: &File) -> Option<i64> {
    let made = file.metadata().ok()?.created().ok()?;
    let since = made.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Records each durable point of a copy, and passes everything else on.
pub(in crate::cp) struct ResumeListener<'a> {
    pub(in crate::cp) inner: &'a mut dyn CopyListener,
    pub(in crate::cp) session: &'a ResumeSession,
    pub(in crate::cp) source: &'a File,
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
        if self.session.drained.is_none() {
            self.session.record(Durable::Until(at))?;
            return self.inner.durable(at);
        }
        self.session.check_name()?;
        self.session.record(Durable::Until(at))?;
        mark_source(self.source, self.session.entry().shown());
        self.inner.durable(at)?;
        // The source is freed next.
        self.session.check_name()
    }

    fn freed(&mut self, bytes: u64) {
        self.inner.freed(bytes);
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop_reason()
    }
}
