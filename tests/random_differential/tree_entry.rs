//! One thing in a tree: made by direct calls, because a shell would take longer than the copy, and told as shell, because a
//! failure is looked into by hand.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, fchownat, linkat};
use shell_words::quote;

/// Stands for the directory that the command runs in, in absolute names.
pub(super) const HERE_PLACEHOLDER: char = '\u{1}';

/// The unit of holes in memory.
pub(super) const PAGE: u64 = 4096;

/// A run of equal bytes; what no piece covers is a hole.
#[derive(Debug, Clone)]
pub(super) struct DataRun {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) byte: u8,
}

#[derive(Debug, Clone)]
pub(super) enum EntryKind {
    Directory,
    File(Vec<DataRun>, u64),
    HardLink(String),
    Symlink(String),
    Fifo,
    Socket,
    /// `/dev/null` by another name.
    Device,
}

/// What is set once everything is made.
#[derive(Debug, Clone)]
pub(super) struct EntryAttributes {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: (i64, i64),
    pub(super) xattrs: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Debug, Clone)]
pub(super) struct TreeEntry {
    /// Relative to where the command runs.
    pub(super) path: String,
    pub(super) kind: EntryKind,
    pub(super) looks: EntryAttributes,
}

/// `text` with the directory that the command runs in.
pub(super) fn placed(text: &str, here: &Path) -> String {
    text.replace(HERE_PLACEHOLDER, here.to_str().unwrap())
}

/// Makes the things in their order, then their looks in the other order: a directory's time changes with what is made in it.
pub(super) fn build(things: &[TreeEntry], here: &Path) {
    for thing in things {
        thing.make(here);
    }
    for thing in things.iter().rev() {
        thing.apply_attributes(here);
    }
}

impl TreeEntry {
    fn make(&self, here: &Path) {
        let path = here.join(&self.path);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        match &self.kind {
            EntryKind::Directory => fs::create_dir(&path).unwrap(),
            EntryKind::File(pieces, size) => {
                let file = File::create_new(&path).unwrap();
                for piece in pieces {
                    let bytes = vec![piece.byte; usize::try_from(piece.len).unwrap()];
                    file.write_all_at(&bytes, piece.offset).unwrap();
                }
                file.set_len(*size).unwrap();
            }
            EntryKind::HardLink(to) => linkat(
                AT_FDCWD,
                &here.join(to),
                AT_FDCWD,
                &path,
                LinkatFlags::empty(),
            )
            .unwrap(),
            EntryKind::Symlink(to) => std::os::unix::fs::symlink(placed(to, here), &path).unwrap(),
            EntryKind::Fifo => mknod(&path, SFlag::S_IFIFO, mode, 0).unwrap(),
            EntryKind::Socket => mknod(&path, SFlag::S_IFSOCK, mode, 0).unwrap(),
            EntryKind::Device => mknod(&path, SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap(),
        }
    }

    fn is_symlink(&self) -> bool {
        matches!(self.kind, EntryKind::Symlink(_))
    }

    /// The extended attributes that this type of thing can have.
    fn xattrs(&self) -> impl Iterator<Item = &(&'static str, Vec<u8>)> {
        let any = matches!(self.kind, EntryKind::Directory | EntryKind::File(..));
        let default = matches!(self.kind, EntryKind::Directory);
        let capable = matches!(self.kind, EntryKind::File(..));
        self.looks
            .xattrs
            .iter()
            .filter(move |(name, _)| match *name {
                "security.capability" => capable,
                "system.posix_acl_default" => default,
                name => any || name.starts_with("trusted."),
            })
    }

    /// A hard link has the looks of what it is a link to.
    fn apply_attributes(&self, here: &Path) {
        if matches!(self.kind, EntryKind::HardLink(_)) {
            return;
        }
        let path = here.join(&self.path);
        let (user, group) = self.looks.owner;
        let ids = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        fchownat(AT_FDCWD, &path, ids.0, ids.1, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
        if !self.is_symlink() {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(self.looks.mode);
            fs::set_permissions(&path, mode).unwrap();
        }
        for (name, value) in self.xattrs() {
            xattr::set(&path, name, value).unwrap();
        }
        let (read, modified) = (self.read(), self.looks.modified);
        utimensat(
            AT_FDCWD,
            &path,
            &TimeSpec::new(read.0, read.1),
            &TimeSpec::new(modified.0, modified.1),
            UtimensatFlags::NoFollowSymlink,
        )
        .unwrap();
    }

    /// The access time: old, and no other time.
    fn read(&self) -> (i64, i64) {
        (self.looks.modified.0 - 1000, 987_654_321)
    }

    /// The same calls, for a shell.
    pub(super) fn make_script(&self) -> String {
        let path = quote(&self.path);
        match &self.kind {
            EntryKind::Directory => format!("mkdir ./{path}"),
            EntryKind::File(pieces, size) => {
                let mut lines = vec![format!("truncate -s {size} ./{path}")];
                for piece in pieces {
                    lines.push(format!(
                        "head -c {} /dev/zero | tr '\\0' '\\{:o}' | dd of=./{path} bs={PAGE} seek={} conv=notrunc status=none",
                        piece.len,
                        piece.byte,
                        piece.offset / PAGE
                    ));
                }
                lines.join("\n")
            }
            EntryKind::HardLink(to) => format!("ln -P ./{} ./{path}", quote(to)),
            EntryKind::Symlink(to) => format!("ln -sT -- {} ./{path}", here_script(to)),
            EntryKind::Fifo => format!("mkfifo ./{path}"),
            EntryKind::Socket => format!(
                "python3 -c 'import os, stat, sys; os.mknod(sys.argv[1], stat.S_IFSOCK)' ./{path}"
            ),
            EntryKind::Device => format!("mknod ./{path} c 1 3"),
        }
    }

    pub(super) fn attributes_script(&self) -> Vec<String> {
        if matches!(self.kind, EntryKind::HardLink(_)) {
            return Vec::new();
        }
        let path = quote(&self.path);
        let looks = &self.looks;
        let mut lines = vec![format!(
            "chown -h {}:{} ./{path}",
            looks.owner.0, looks.owner.1
        )];
        if !self.is_symlink() {
            lines.push(format!("chmod {:04o} ./{path}", looks.mode));
        }
        for (name, value) in self.xattrs() {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("setfattr -h -n {name} -v 0x{hex} ./{path}"));
        }
        for (word, (seconds, nano)) in [("-a", self.read()), ("-m", looks.modified)] {
            lines.push(format!("touch -h {word} -d @{seconds}.{nano:09} ./{path}"));
        }
        lines
    }
}

/// A word for a shell that runs where the command does.
pub(super) fn here_script(text: &str) -> String {
    match text.strip_prefix(HERE_PLACEHOLDER) {
        Some(rest) => format!("\"$PWD\"{}", quote(rest)),
        None => quote(text).into_owned(),
    }
}
