//! Mode, owner, times, extended attributes and context of what was made, in cp's order, each required or best effort as
//! the command line has it.

mod acl;
mod creation_mode;
mod handle;
mod owner;
pub mod security_context;
mod xattrs;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::sys::stat::{FileStat, SFlag};

use super::at_path::AtPath;
use super::options::{CopyOptions, Preserve};
use crate::report::quote::{quote, quote_word};
use crate::sys::strerror::strerror;
use creation_mode::PendingMode;
use handle::AttrHandle;
use owner::OwnerOutcome;
use xattrs::{ReportLevel, XattrRules};

/// What all may do with a file, and with a directory.
const FILE_DEFAULT: u32 = 0o666;
const DIRECTORY_DEFAULT: u32 = 0o777;

/// Something that was to be preserved was not, and that counts. It has been said.
#[derive(Debug)]
pub struct Unpreserved;

/// Whether what counts was preserved.
pub type AttrResult = Result<(), Unpreserved>;

/// What attributes are to be set, and how. One for a run.
#[derive(Debug)]
pub struct Attributes {
    preserve: Preserve,
    umask: u32,
    /// Root may give files away, and write where permissions say no.
    root: bool,
    attributes_only: bool,
    /// The context of all that is made, if the user said one.
    context: Option<OsString>,
    rules: XattrRules,
}

impl Attributes {
    /// What `options` ask for, where the file mode creation mask is `umask`.
    #[must_use]
    pub fn new(options: &CopyOptions, umask: u32) -> Self {
        let mut preserve = options.preserve;
        let contexts = (preserve.context || options.context.is_some())
            && security_context::has_security_contexts();
        preserve.context &= contexts;
        Self {
            preserve,
            umask,
            root: nix::unistd::geteuid().is_root(),
            attributes_only: options.attributes_only,
            context: options
                .context
                .clone()
                .filter(|context| contexts && !context.is_empty()),
            rules: if preserve.xattr {
                XattrRules::read(contexts)
            } else {
                XattrRules::default()
            },
        }
    }

    /// All that follows the data of a regular file, or of what was copied as one. `made`: by this run.
    ///
    /// # Errors
    /// When what failed counts.
    pub fn finish_file(
        &self,
        source: &File,
        from: &FileStat,
        dest: &File,
        made: bool,
        shown: (&Path, &Path),
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let (source, to) = (AttrHandle::Open(source), AttrHandle::Open(dest));
        self.times(&to, from, shown.1, say)?;
        let mut owner = OwnerOutcome::Right;
        if self.preserve.ownership {
            let now = stat_or_report(&to, "cannot fstat", shown.1, say)?;
            if (now.st_uid, now.st_gid) != (from.st_uid, from.st_gid) {
                owner = self.copy_owner(&to, from, &now, made, shown.1, say)?;
            }
        }
        let extra = if made { self.extra(from) } else { 0 };
        if extra != 0 {
            let now = stat_or_report(&to, "cannot fstat", shown.1, say)?;
            if now.st_mode & extra == 0 {
                // If it fails, so will what it is for, and that is told.
                let _ = to.set_mode(now.st_mode | extra);
            }
        }
        let extended = self.extended((&source, &to), shown, say);
        let mode = if self.preserve.mode {
            self.mode((&source, &to), owner.mode(from), shown, say)
        } else if !made {
            Ok(())
        } else if self.preserve.default_mode {
            self.default_mode(&to, FILE_DEFAULT, shown.1, say)
        } else if extra != 0 || self.deferred_bits(from) != 0 {
            self.widened(
                to.set_mode(from.st_mode & DIRECTORY_DEFAULT & !self.umask),
                shown.1,
                say,
            )
        } else {
            Ok(())
        };
        extended.and(mode)
    }

    /// All that follows the last entry of a directory. `listing` is the source where it could be opened; `made` is what
    /// [`open_up`](Self::grant_owner_access) said, where this run made the destination.
    ///
    /// # Errors
    /// When what failed counts.
    pub fn finish_directory(
        &self,
        source: (&AtPath<'_>, Option<&File>),
        from: &FileStat,
        dest: &File,
        made: Option<u32>,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let (place, listing) = source;
        let to = AttrHandle::of(dest).map_err(|e| {
            report_error(say, "cannot fstat", shown, &e);
            Unpreserved
        })?;
        let made = made.map(|made| self.complete_directory(made, from));
        let source = match listing {
            Some(file) => AttrHandle::Open(file),
            None => source_at(place, from, say)?,
        };
        self.finish(&source, from, &to, made, (place.shown, shown), say)
    }

    /// For a FIFO, a socket or a device that this run made.
    ///
    /// # Errors
    /// When what failed counts, or when another file has its place.
    pub fn finish_special(
        &self,
        source: &AtPath<'_>,
        from: &FileStat,
        dest: &AtPath<'_>,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let preserve = self.preserve;
        let later = preserve.timestamps || preserve.xattr || self.changes_mode();
        if !later {
            return Ok(());
        }
        let (to, now) = pin_made(dest, file_type_of_mode(from.st_mode), say)?;
        if now.st_nlink > 1 || now.st_rdev != from.st_rdev {
            return replaced(dest, say);
        }
        let held = source_at(source, from, say)?;
        let made = Some(PendingMode::add(self.deferred_bits(from)));
        self.finish(&held, from, &to, made, (source.shown, dest.shown), say)
    }

    /// For a symbolic link that this run made: times, owner and extended attributes of the link itself. With `from` of
    /// something else it was made by -s, and has an owner of its own.
    ///
    /// # Errors
    /// When what failed counts, or when another file has its place.
    pub fn finish_symlink(
        &self,
        source: &AtPath<'_>,
        from: &FileStat,
        dest: &AtPath<'_>,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let preserve = self.preserve;
        if !(preserve.ownership || preserve.timestamps || preserve.xattr) {
            return Ok(());
        }
        let (to, now) = pin_made(dest, SFlag::S_IFLNK, say)?;
        if now.st_nlink > 1 {
            // A further name of a link that may be elsewhere, too.
            return replaced(dest, say);
        }
        if preserve.ownership && file_type_of_mode(from.st_mode) == SFlag::S_IFLNK {
            self.give_link(&to, from, dest.shown, say)?;
        }
        self.times(&to, from, dest.shown, say)?;
        if !preserve.xattr {
            return Ok(());
        }
        let link = source_at(source, from, say)?;
        self.extended((&link, &to), (source.shown, dest.shown), say)
    }

    /// For a directory that --parents names. `made` as with [`finish_directory`](Self::finish_directory).
    ///
    /// # Errors
    /// When anything failed.
    pub fn finish_parent(
        &self,
        source: &AtPath<'_>,
        from: &FileStat,
        (dest, shown): (&File, &Path),
        made: Option<u32>,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let preserve = self.preserve;
        let to = AttrHandle::from_clone(dest).map_err(|e| {
            report_error(say, "cannot access", shown, &e);
            Unpreserved
        })?;
        let now = stat_or_report(&to, "cannot stat", shown, say)?;
        if preserve.timestamps
            && let Err(e) = to.set_times(from)
        {
            return fail(say, "failed to preserve times for", shown, &e);
        }
        if preserve.ownership {
            self.give_parent(&to, from, &now, shown, say)?;
        }
        if preserve.mode {
            let held = source_at(source, from, say)?;
            return copy_mode((&held, &to), from.st_mode, (source.shown, shown), say);
        }
        let Some(made) = made else {
            return Ok(());
        };
        match self.complete_parent(made, from).apply(&to) {
            Err(e) => fail(say, "failed to preserve permissions for", shown, &e),
            Ok(()) => Ok(()),
        }
    }

    /// What all have in common that are no regular files. `made`: what is left to do about the mode of what this run made.
    fn finish(
        &self,
        source: &AttrHandle<'_>,
        from: &FileStat,
        to: &AttrHandle<'_>,
        made: Option<PendingMode>,
        shown: (&Path, &Path),
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        self.times(to, from, shown.1, say)?;
        let inherited = match made {
            Some(_) if self.preserve.default_mode => inherited(to, from, shown.1, say)?,
            _ => 0,
        };
        let mut owner = OwnerOutcome::Right;
        if self.preserve.ownership {
            let now = stat_or_report(to, "cannot stat", shown.1, say)?;
            if made.is_some() || (now.st_uid, now.st_gid) != (from.st_uid, from.st_gid) {
                owner = self.copy_owner(to, from, &now, made.is_some(), shown.1, say)?;
            }
        }
        self.extended((source, to), shown, say)?;
        if self.preserve.mode {
            return self.mode((source, to), owner.mode(from), shown, say);
        }
        match made {
            Some(_) if self.preserve.default_mode => {
                self.default_mode(to, default_of(from) | inherited, shown.1, say)
            }
            Some(completion) => self.widened(completion.apply(to), shown.1, say),
            None => Ok(()),
        }
    }

    fn times(
        &self,
        to: &AttrHandle<'_>,
        from: &FileStat,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        if self.preserve.timestamps
            && let Err(e) = to.set_times(from)
        {
            report_error(say, "preserving times for", shown, &e);
            return self.fail_if_required();
        }
        Ok(())
    }

    fn extended(
        &self,
        (source, to): (&AttrHandle<'_>, &AttrHandle<'_>),
        shown: (&Path, &Path),
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        let preserve = self.preserve;
        if !preserve.xattr {
            return Ok(());
        }
        let told = ReportLevel::of(
            self.attributes_only || preserve.xattr_required,
            preserve.quiet,
        );
        match xattrs::copy(&self.rules, told, (source, to), shown, say) {
            Err(Unpreserved) if preserve.xattr_required => Err(Unpreserved),
            _ => Ok(()),
        }
    }

    fn mode(
        &self,
        handles: (&AttrHandle<'_>, &AttrHandle<'_>),
        mode: u32,
        shown: (&Path, &Path),
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        copy_mode(handles, mode, shown, say).or_else(|_| self.fail_if_required())
    }

    fn default_mode(
        &self,
        to: &AttrHandle<'_>,
        everything: u32,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        acl::set_mode_without_acl(to, everything & !self.umask).map_err(|e| {
            let name = quote_word(shown);
            say(&format!("setting permissions for {name}: {}", strerror(&e)));
            Unpreserved
        })
    }

    fn widened(&self, done: io::Result<()>, shown: &Path, say: &mut dyn FnMut(&str)) -> AttrResult {
        match done {
            Err(e) => {
                report_error(say, "preserving permissions for", shown, &e);
                self.fail_if_required()
            }
            Ok(()) => Ok(()),
        }
    }

    fn fail_if_required(&self) -> AttrResult {
        if self.preserve.required {
            Err(Unpreserved)
        } else {
            Ok(())
        }
    }
}

fn file_type_of_mode(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits())
}

/// What --no-preserve=mode makes of something that is no regular file.
fn default_of(from: &FileStat) -> u32 {
    match file_type_of_mode(from.st_mode) {
        SFlag::S_IFDIR | SFlag::S_IFSOCK => DIRECTORY_DEFAULT,
        _ => FILE_DEFAULT,
    }
}

/// The set-group-id bit that a new directory has from the one it is in, which --no-preserve=mode leaves to it. Where it has,
/// its mode is set as a whole, and a sticky bit of the source goes: as cp since 9.5.
fn inherited(
    to: &AttrHandle<'_>,
    from: &FileStat,
    shown: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<u32, Unpreserved> {
    if file_type_of_mode(from.st_mode) != SFlag::S_IFDIR {
        return Ok(0);
    }
    let now = stat_or_report(to, "cannot stat", shown, say)?;
    Ok(now.st_mode & libc::S_ISGID)
}

fn copy_mode(
    (source, to): (&AttrHandle<'_>, &AttrHandle<'_>),
    mode: u32,
    (from, dest): (&Path, &Path),
    say: &mut dyn FnMut(&str),
) -> AttrResult {
    let text = match acl::copy(source, to, mode) {
        Ok(()) => return Ok(()),
        Err(acl::AclError::Source(e)) => format!("{}: {}", quote_word(from), strerror(&e)),
        Err(acl::AclError::Dest(e)) => {
            let name = quote_word(dest);
            format!("preserving permissions for {name}: {}", strerror(&e))
        }
    };
    say(&text);
    Err(Unpreserved)
}

fn stat_or_report(
    of: &AttrHandle<'_>,
    cannot: &str,
    shown: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<FileStat, Unpreserved> {
    of.stat().map_err(|e| {
        report_error(say, cannot, shown, &e.into());
        Unpreserved
    })
}

/// What cannot be opened, at the place that `from` is of: the link there, or what it leads to. Nothing is read of another
/// file that was swapped in.
fn source_at(
    place: &AtPath<'_>,
    from: &FileStat,
    say: &mut dyn FnMut(&str),
) -> Result<AttrHandle<'static>, Unpreserved> {
    let itself = |stat: FileStat| (stat.st_dev, stat.st_ino) == (from.st_dev, from.st_ino);
    let held = AttrHandle::open_o_path(place, false).and_then(|held| {
        if itself(held.stat()?) {
            return Ok(held);
        }
        let behind = AttrHandle::open_o_path(place, true)?;
        if itself(behind.stat()?) {
            Ok(behind)
        } else {
            Err(io::Error::other("it was replaced while being copied"))
        }
    });
    held.map_err(|e| {
        report_error(say, "cannot access", place.shown, &e);
        Unpreserved
    })
}

/// What this run made at `place`, of type `made`; whatever took its name since is left alone.
fn pin_made(
    place: &AtPath<'_>,
    made: SFlag,
    say: &mut dyn FnMut(&str),
) -> Result<(AttrHandle<'static>, FileStat), Unpreserved> {
    let held = AttrHandle::open_o_path(place, false).and_then(|held| Ok((held.stat()?, held)));
    match held {
        Ok((now, held)) if file_type_of_mode(now.st_mode) == made => Ok((held, now)),
        Ok(_) => replaced(place, say),
        Err(e) => {
            report_error(say, "cannot access", place.shown, &e);
            Err(Unpreserved)
        }
    }
}

fn replaced<T>(place: &AtPath<'_>, say: &mut dyn FnMut(&str)) -> Result<T, Unpreserved> {
    say(&format!(
        "not setting attributes of {}, as it was replaced while being copied",
        quote(place.shown)
    ));
    Err(Unpreserved)
}

fn report_error(say: &mut dyn FnMut(&str), what: &str, shown: &Path, e: &io::Error) {
    say(&format!("{what} {}: {}", quote(shown), strerror(e)));
}

fn fail(say: &mut dyn FnMut(&str), what: &str, shown: &Path, e: &io::Error) -> AttrResult {
    report_error(say, what, shown, e);
    Err(Unpreserved)
}
