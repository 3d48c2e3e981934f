//! --parents: the directories of a source's path, which are made below the target, and completed when the copy is done.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat, stat};

use super::new_directory::replaced;
use super::{EntryError, Walk};
use crate::cp::at_path::{AtPath, DirHandle, open_searchable};
use crate::cp::dest::resolve_link::open_trusted;
use crate::cp::error::{Error, Operation, Refusal};
use crate::cp::file_status::{file_id, is_directory};
use crate::cp::messages;
use crate::cp::operands::{DestKnowledge, OperandJob};

/// The directories of one operand's path.
#[derive(Default)]
pub(super) struct Parents {
    /// The directories to complete, the uppermost first.
    list: Vec<Parent>,
    /// The last directory of the path, where there are any.
    pub(super) folder: Option<Arc<DirHandle>>,
    /// Whether this run made the last directory.
    new: bool,
}

/// One directory of the path.
struct Parent {
    source: AtPath,
    dest: AtPath,
    from: FileStat,
    /// The destination directory, open for setting attributes.
    file: File,
    /// The mode that mkdir(2) gave the directory, if this run made it.
    made: Option<u32>,
}

impl Parents {
    /// Returns the facts that are known about the destination: a new directory is empty.
    pub(super) fn known(&self, known: DestKnowledge) -> DestKnowledge {
        if self.new {
            DestKnowledge::Missing
        } else {
            known
        }
    }
}

/// Returns the last component with its trailing slashes.
pub(super) fn base(path: &[u8]) -> &OsStr {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let start = path[..end]
        .iter()
        .rposition(|b| *b == b'/')
        .map_or(0, |i| i + 1);
    OsStr::from_bytes(&path[start..])
}

impl Walk<'_, '_, '_> {
    /// Makes the missing directories above an operand.
    pub(super) fn make_parents(&mut self, job: &OperandJob) -> Result<Parents, EntryError> {
        let (Some(at), Some(target)) = (job.parents_at, self.target.clone()) else {
            return Ok(Parents::default());
        };
        // The directories of this source may be those that the last one was copied into.
        self.wait_in_flight();
        let dest = job.dest.as_os_str().as_bytes();
        let below = &dest[at..];
        let above = &below[..below.len() - base(below).len()];
        if above.iter().all(|b| *b == b'/') {
            return Ok(Parents::default());
        }
        let shown = OsStr::from_bytes(trimmed(&dest[..at + above.len()]));
        let whole = AtPath::new(Arc::clone(&target), relative(above), shown);
        match whole.stat(true) {
            Ok(stat) if is_directory(&stat) => Ok(Parents {
                folder: Some(Arc::new(open_each(&whole, &stat)?)),
                ..Parents::default()
            }),
            Ok(_) => Err(not_a_directory(whole.shown())),
            Err(_) => self.make_each(&target, &dest[..at], above),
        }
    }

    fn make_each(
        &mut self,
        target: &Arc<DirHandle>,
        prefix: &[u8],
        above: &[u8],
    ) -> Result<Parents, EntryError> {
        let mut parents = Parents::default();
        let mut end = 0;
        for part in above.split(|b| *b == b'/') {
            end += part.len() + 1;
            if part.is_empty() {
                continue;
            }
            let source = &above[..end - 1];
            let shown = PathBuf::from(OsStr::from_bytes(&[prefix, source].concat()));
            let folder = parents.folder.as_ref().unwrap_or(target);
            let dest = AtPath::new(Arc::clone(folder), OsStr::from_bytes(part), shown);
            let file = self.parent(dest, Path::new(OsStr::from_bytes(source)), &mut parents)?;
            parents.folder = Some(Arc::new(DirHandle::Open(file)));
        }
        Ok(parents)
    }

    /// Handles one component: makes it if it is missing, notes it if it is to get attributes, and opens it.
    fn parent(
        &mut self,
        dest: AtPath,
        source: &Path,
        parents: &mut Parents,
    ) -> Result<File, EntryError> {
        let place = &dest;
        let there = place.stat(true).ok();
        let preserve = self.options().preserve;
        let missing = there.is_none();
        let mut from = None;
        if missing || preserve.ownership || preserve.mode || preserve.timestamps {
            from = Some(attributes_of(source)?);
        }
        parents.new = missing;
        let (file, made) = match (&from, &there) {
            (Some(from), None) => {
                let (file, made) = self.make_parent(place, source, from)?;
                (file, Some(made))
            }
            (_, Some(there)) if is_directory(there) => (open(place, there)?, None),
            _ => return Err(not_a_directory(place.shown())),
        };
        if let Some(from) = from {
            parents.list.push(Parent {
                source: AtPath::with_open_parent(source),
                file: file
                    .try_clone()
                    .map_err(|e| place.error(Operation::Access, e))?,
                dest,
                from,
                made,
            });
        }
        Ok(file)
    }

    /// Makes one directory that its owner can use. Returns the mode that it was made with, too.
    fn make_parent(
        &mut self,
        place: &AtPath,
        source: &Path,
        from: &FileStat,
    ) -> Result<(File, u32), EntryError> {
        self.prepare_creation(&AtPath::with_open_parent(source))?;
        let mode = self.run.attributes().parent_mode(from);
        let bits = Mode::from_bits_truncate(mode);
        mkdirat(place.dir(), place.path(), bits)
            .map_err(|e| place.error(Operation::MakeParent, e))?;
        if self.options().report.verbose {
            let line = messages::parent_made(source, place.shown());
            self.flushed_output().print_verbose(&line);
        }
        self.open_new(place, mode, true)
    }

    /// Sets the attributes of the directories, the lowest first; cp stops at the first failure.
    pub(super) fn finish_parents(&mut self, parents: Parents) {
        if parents.list.is_empty() {
            return;
        }
        self.wait_in_flight();
        for parent in parents.list.iter().rev() {
            let finished = self.run.attributes().finish_parent(
                &parent.source,
                &parent.from,
                (&parent.file, parent.dest.shown()),
                parent.made,
            );
            self.run.cx.fsync_set.note_entry(&parent.dest);
            self.report_attributes(&finished);
            if finished.is_incomplete {
                return;
            }
        }
    }
}

fn attributes_of(source: &Path) -> Result<FileStat, EntryError> {
    match stat(source) {
        Ok(stat) if is_directory(&stat) => Ok(stat),
        Ok(_) => Err(Error::io(Operation::StatParent, source, Errno::ENOTDIR).into()),
        Err(e) => Err(Error::io(Operation::StatParent, source, e).into()),
    }
}

/// Opens the last of several existing directories, one component at a time.
fn open_each(whole: &AtPath, there: &FileStat) -> Result<DirHandle, EntryError> {
    let mut folder = Arc::clone(whole.folder());
    for part in whole.path().as_bytes().split(|b| *b == b'/') {
        if part.is_empty() {
            continue;
        }
        let place = whole.below(folder, OsStr::from_bytes(part));
        let next = open_trusted(&place, OFlag::O_PATH | OFlag::O_DIRECTORY);
        let next = next.map_err(|e| whole.error(Operation::Access, e))?;
        folder = Arc::new(DirHandle::Open(next));
    }
    Ok(DirHandle::Open(open(&whole.below(folder, "."), there)?))
}

/// Opens an existing directory, which may be reached through a trusted link, and must be the one that was examined.
fn open(place: &AtPath, there: &FileStat) -> Result<File, EntryError> {
    let file = open_searchable(|flags| open_trusted(place, flags));
    let file = file.map_err(|e| place.error(Operation::Access, e))?;
    let now = fstat(&file).map_err(|e| place.error(Operation::Stat, e))?;
    if file_id(&now) == file_id(there) {
        Ok(file)
    } else {
        Err(replaced(place))
    }
}

fn not_a_directory(path: &Path) -> EntryError {
    Error::refused(Refusal::ParentNotDirectory, Path::new(""), path).into()
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    &path[..end]
}

/// Returns the path relative to the target: without leading and trailing slashes.
fn relative(path: &[u8]) -> &OsStr {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    OsStr::from_bytes(trimmed(&path[start..]))
}
