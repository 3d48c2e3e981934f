//! The file of `--manifest`, which appears whole at the end of the run or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use super::super::at_path::AtPath;
use super::super::dest::{
    self, CommitDecision, CommitError, CommitOutcome, CommitRules, DestOptions, Destination, Part,
};
use super::super::error::{Error, Operation, Refusal};
use super::super::fsync_set::FsyncSet;

/// Permissions of a new manifest, of which the umask takes some away.
const MODE: u32 = 0o666;

/// A manifest that is being written, without its name.
#[derive(Debug)]
pub(in crate::cp) struct ManifestFile {
    place: AtPath,
    open: Destination,
}

impl ManifestFile {
    /// Makes the file that will get the name `path`.
    ///
    /// # Errors
    /// It cannot be made there, or cannot replace what has the name.
    pub(in crate::cp) fn create(path: &Path) -> Result<Self, Error> {
        let place = AtPath::with_open_parent(path);
        let there = place.stat(true).ok();
        let how = DestOptions {
            mode: MODE,
            force: false,
            through_dangling: false,
            is_below_operand: false,
            atomic: true,
            replace_as_new: false,
            keep_mode: true,
        };
        let open = dest::open(&place, there.as_ref(), &how, Part::None, || {})?;
        Ok(Self { place, open })
    }

    /// Returns a descriptor to write the lines to.
    ///
    /// # Errors
    /// The error of fcntl(2), if there are too many descriptors.
    pub(in crate::cp) fn writer(&self) -> Result<File, Error> {
        let file = self.open.file.try_clone();
        file.map_err(|e| self.place.error(Operation::OpenDest, e))
    }

    /// Gives the file its name if all lines were `written`; durably, if that is wanted.
    ///
    /// # Errors
    /// A line was not written, or the file cannot get the name. Then the old file has it.
    pub(in crate::cp) fn finish(
        self,
        written: io::Result<()>,
        is_durable: bool,
    ) -> Result<(), Error> {
        let Self { place, mut open } = self;
        if let Err(e) = written {
            let _ = open.abandon();
            return Err(place.error(Operation::Write, e));
        }
        let fsync_set = FsyncSet::new(is_durable);
        for _ in 0..dest::MAX_COMMITS {
            open.inherit()?;
            let committed = open.commit(&mut CommitRules {
                fsync_set: &fsync_set,
                backup: None,
                may_leave: false,
                decide: &mut |_, _| CommitDecision::Replace,
            });
            match committed {
                Ok(CommitOutcome::Done { .. } | CommitOutcome::Left(_)) => {
                    return fsync_set.finish().pop().map_or(Ok(()), Err);
                }
                Err(CommitError::Changed(again)) => open = *again,
                Err(CommitError::Exists) => {
                    let path = place.shown();
                    return Err(Error::refused(Refusal::ManifestAppeared, path, path));
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        let _ = open.abandon();
        Err(Error::dest_replaced(place.shown()))
    }

    /// Ends a manifest that is not to get its name.
    pub(in crate::cp) fn abandon(self) {
        // A temporary name that cannot be removed now is removed by the next run.
        let _ = self.open.abandon();
    }
}
