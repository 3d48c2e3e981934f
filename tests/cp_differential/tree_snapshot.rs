//! What a tree is, as far as cp can shape it, and where two of them differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{Whence, lseek64};

/// A time this near to now was set by the copy; others were kept, and are told apart to the nanosecond.
const NEW_TIME_WINDOW_SECS: i64 = 24 * 3600;

/// A body up to this many bytes is shown whole.
const MAX_SHOWN_BYTES: usize = 200;

/// A file by what a change of its name leaves alone.
type Identity = (u64, u64);

/// All that can be seen of one name.
#[derive(Debug, PartialEq, Clone)]
pub(crate) struct EntryState {
    pub(crate) kind: &'static str,
    mode: String,
    owner: (u32, u32),
    links: u64,
    /// The first of the names that share its inode.
    shared_with: Option<PathBuf>,
    /// What its inode was called before the command, where inodes are not used again.
    was: Option<PathBuf>,
    time: String,
    /// Whether its inode was changed or made by the command.
    touched: bool,
    /// When it was read, where the command set that.
    read: Option<String>,
    pub(crate) body: String,
    /// Where its data lie, between the holes.
    data: Vec<(i64, i64)>,
    /// Extended attributes, ACLs among them.
    xattrs: BTreeMap<String, String>,
}

impl EntryState {
    /// Was there before the copy, and is no directory, whose time changes with what is copied into it.
    pub(crate) fn is_old_leaf(&self) -> bool {
        self.kind != "directory" && self.time != "new"
    }

    /// Whether cp and we made the same of a name. How it was touched is not asked, and when it was read only where both set
    /// that.
    fn agrees(&self, other: &EntryState) -> bool {
        let read = self.read.is_none() || other.read.is_none() || self.read == other.read;
        let without = |node: &EntryState| EntryState {
            touched: false,
            read: None,
            ..node.clone()
        };
        read && without(self) == without(other)
    }
}

/// Our tree as if files of the same bytes had the same holes.
pub(crate) fn with_holes_of(cp: &Tree, ours: &Tree) -> Tree {
    let mut holed = ours.clone();
    for (name, node) in &mut holed {
        if let Some(theirs) = cp.get(name).filter(|theirs| theirs.body == node.body) {
            node.data.clone_from(&theirs.data);
        }
    }
    holed
}

/// Whether all that differs are directories that both made.
pub(crate) fn differ_in_directories_only(cp: &Tree, ours: &Tree) -> bool {
    let both =
        |one: &EntryState, other: &EntryState| one.kind == "directory" && other.kind == "directory";
    cp.keys().eq(ours.keys())
        && cp
            .iter()
            .all(|(name, node)| node.agrees(&ours[name]) || both(node, &ours[name]))
}

/// Whether all that differs are extended attributes of directories.
pub(crate) fn differ_in_directory_attributes_only(cp: &Tree, ours: &Tree) -> bool {
    let like = |cp: &EntryState, ours: &EntryState| {
        let with_those = EntryState {
            xattrs: cp.xattrs.clone(),
            ..ours.clone()
        };
        cp.agrees(ours) || ours.kind == "directory" && cp.agrees(&with_those)
    };
    cp.keys().eq(ours.keys()) && cp.iter().all(|(name, node)| like(node, &ours[name]))
}

/// Whether all that differs are modes, and ours permit less.
pub(crate) fn differ_in_narrower_modes_only(cp: &Tree, ours: &Tree) -> bool {
    let mode = |node: &EntryState| u32::from_str_radix(&node.mode, 8).unwrap();
    let narrower = |cp: &EntryState, ours: &EntryState| {
        let as_wide = EntryState {
            mode: cp.mode.clone(),
            ..ours.clone()
        };
        mode(ours) & !mode(cp) == 0 && cp.agrees(&as_wide)
    };
    cp.keys().eq(ours.keys()) && cp.iter().all(|(name, node)| narrower(node, &ours[name]))
}

/// Adds set-id and sticky bits to our tree, where cp's has them and nothing else of the mode differs.
pub(crate) fn add_special_bits(cp: &Tree, ours: &mut Tree) {
    let mode = |node: &EntryState| u32::from_str_radix(&node.mode, 8).unwrap();
    for (name, node) in ours {
        if let Some(cp) = cp.get(name)
            && mode(cp) & !0o7000 == mode(node) & !0o7000
            && mode(cp) & mode(node) == mode(node)
        {
            node.mode.clone_from(&cp.mode);
        }
    }
}

/// Whether all that differs are set-group-id bits of directories, which ours lack.
pub(crate) fn differ_in_fewer_set_group_ids_of_directories_only(cp: &Tree, ours: &Tree) -> bool {
    let like = |cp: &EntryState, ours: &EntryState| {
        let mode = u32::from_str_radix(&ours.mode, 8).unwrap();
        let with = EntryState {
            mode: format!("{:o}", mode | 0o2000),
            ..ours.clone()
        };
        cp.agrees(ours) || ours.kind == "directory" && cp.agrees(&with)
    };
    cp.keys().eq(ours.keys()) && cp.iter().all(|(name, node)| like(node, &ours[name]))
}

/// Whether all that differs are ACLs, which ours lack.
pub(crate) fn differ_in_fewer_acls_only(cp: &Tree, ours: &Tree) -> bool {
    let like = |cp: &EntryState, ours: &EntryState| {
        let mut without = cp.clone();
        without.xattrs.retain(|name, _| {
            !name.starts_with("system.posix_acl_") || ours.xattrs.contains_key(name)
        });
        without.agrees(ours)
    };
    cp.keys().eq(ours.keys()) && cp.iter().all(|(name, node)| like(node, &ours[name]))
}

/// Adds to our tree the files that cp has made and left empty.
pub(crate) fn add_empty_files(cp: &Tree, ours: &mut Tree) {
    for (name, node) in cp {
        if node.kind == "file" && node.time == "new" && node.body.is_empty() && node.was.is_none() {
            ours.entry(name.clone()).or_insert_with(|| node.clone());
        }
    }
}

/// Whether all that differs is when empty files were read.
pub(crate) fn differ_in_reading_of_empty_files_only(cp: &Tree, ours: &Tree) -> bool {
    let like = |cp: &EntryState, ours: &EntryState| {
        let unread = EntryState {
            read: None,
            ..cp.clone()
        };
        cp.agrees(ours) || cp.kind == "file" && cp.body.is_empty() && unread.agrees(ours)
    };
    cp.keys().eq(ours.keys()) && cp.iter().all(|(name, node)| like(node, &ours[name]))
}

/// Everything below a directory, by relative name.
pub(crate) type Tree = BTreeMap<PathBuf, EntryState>;

/// For a copy that replaces where cp overwrites: that the inode stayed is not asked of it.
pub(crate) fn forget_overwritten(cp: &mut Tree, ours: &Tree) {
    for (name, node) in cp {
        let replaced = ours.get(name).is_some_and(|ours| ours.was.is_none());
        if replaced && node.kind == "file" && node.was.as_ref() == Some(name) {
            node.was = None;
        }
    }
}

/// What the inodes of a tree were called before the command, and when they were last changed.
#[derive(Default)]
pub(crate) struct TreeBefore {
    names: HashMap<Identity, (PathBuf, (i64, i64))>,
    /// Names in all.
    count: usize,
    /// A number of an inode is used again at once (as on ext4), so it says nothing about what became of the file.
    numbers_return: bool,
}

/// Looks at a tree before the command.
pub(crate) fn snapshot_before(root: &Path) -> TreeBefore {
    let found = walk(root);
    let count = found.len();
    let names = found
        .into_iter()
        .map(|(name, meta)| (identity(&meta), (name, ctime_of(&meta))))
        .collect();
    TreeBefore {
        names,
        count,
        numbers_return: statfs(root).unwrap().filesystem_type() != TMPFS_MAGIC,
    }
}

/// Looks at it after the command.
pub(crate) fn snapshot_after(root: &Path, before: &TreeBefore) -> Tree {
    let found = walk(root);
    let mut first: HashMap<Identity, &PathBuf> = HashMap::new();
    for (name, meta) in &found {
        first.entry(identity(meta)).or_insert(name);
    }
    let mut tree = Tree::new();
    for (name, meta) in &found {
        let old = before.names.get(&identity(meta));
        let mut node = node(&root.join(name), meta);
        node.shared_with = Some(first[&identity(meta)].clone())
            .filter(|other| meta.nlink() > 1 && !meta.is_dir() && other != name);
        node.was = old
            .filter(|_| !before.numbers_return)
            .map(|(name, _)| name.clone());
        node.touched = old.is_none_or(|(_, then)| *then != ctime_of(meta));
        // Another process reads a FIFO while the copy runs.
        node.read = (node.touched && node.time != "new" && node.kind != "fifo")
            .then(|| time_words(meta.atime(), meta.atime_nsec()));
        tree.insert(name.clone(), node);
    }
    tree
}

/// Whether a name was added or removed, or an inode touched.
pub(crate) fn has_changed(tree: &Tree, before: &TreeBefore) -> bool {
    tree.len() != before.count || tree.values().any(|node| node.touched)
}

/// Every name below `root`.
pub(super) fn names(root: &Path) -> Vec<PathBuf> {
    walk(root).into_keys().collect()
}

/// Every name below `root`, in order, and what `lstat` said before anything was opened.
fn walk(root: &Path) -> BTreeMap<PathBuf, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        // A copy that went into itself without end is deeper than a path can say: the walk ends there.
        for name in names_in(&dir).unwrap_or_default() {
            let path = dir.join(name);
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().to_owned(), meta);
        }
    }
    found
}

/// Reads a directory without leaving a trace in its access time, which a copy may keep.
fn names_in(dir: &Path) -> nix::Result<Vec<PathBuf>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
    let mut dir = Dir::open(dir, flags | OFlag::O_NOATIME, Mode::empty())
        .or_else(|_| Dir::open(dir, flags, Mode::empty()))?;
    let names = dir.iter().map(|entry| {
        let entry = entry?;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(
            entry.file_name().to_bytes(),
        )))
    });
    let mut names: Vec<PathBuf> = names.collect::<nix::Result<_>>()?;
    names.retain(|name| name != Path::new(".") && name != Path::new(".."));
    Ok(names)
}

fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

fn ctime_of(meta: &fs::Metadata) -> (i64, i64) {
    (meta.ctime(), meta.ctime_nsec())
}

fn time_words(seconds: i64, nanoseconds: i64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    if (seconds - i64::try_from(now).unwrap()).abs() < NEW_TIME_WINDOW_SECS {
        return "new".into();
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn node(path: &Path, meta: &fs::Metadata) -> EntryState {
    let kind = meta.file_type();
    let (kind, body) = if kind.is_dir() {
        ("directory", Vec::new())
    } else if kind.is_symlink() {
        let target = fs::read_link(path).unwrap();
        ("symlink", target.as_os_str().as_bytes().to_vec())
    } else if kind.is_fifo() {
        ("fifo", Vec::new())
    } else if kind.is_socket() {
        ("socket", Vec::new())
    } else if kind.is_char_device() {
        ("character device", meta.rdev().to_string().into_bytes())
    } else if kind.is_block_device() {
        ("block device", meta.rdev().to_string().into_bytes())
    } else {
        ("file", fs::read(path).unwrap())
    };
    EntryState {
        kind,
        mode: format!("{:o}", meta.mode()),
        owner: (meta.uid(), meta.gid()),
        links: meta.nlink(),
        shared_with: None,
        was: None,
        time: time_words(meta.mtime(), meta.mtime_nsec()),
        touched: false,
        read: None,
        body: shorten_content(&body),
        data: if kind == "file" {
            data_extents(path)
        } else {
            Vec::new()
        },
        xattrs: xattrs(path),
    }
}

/// A body as text: the beginning, and a digest of a longer one.
fn shorten_content(body: &[u8]) -> String {
    if body.len() <= MAX_SHOWN_BYTES {
        return body.escape_ascii().to_string();
    }
    let mut digest = DefaultHasher::new();
    body.hash(&mut digest);
    format!(
        "{}... ({} bytes, digest {:x})",
        body[..16].escape_ascii(),
        body.len(),
        digest.finish()
    )
}

fn data_extents(path: &Path) -> Vec<(i64, i64)> {
    let file = File::open(path).unwrap();
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(start) = lseek64(&file, at, Whence::SeekData) {
        at = lseek64(&file, start, Whence::SeekHole).unwrap();
        found.push((start, at));
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let names = xattr::list(path).into_iter().flatten();
    names
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            (name, value.escape_ascii().to_string())
        })
        .collect()
}

/// Where two trees differ, the first twenty places.
pub(crate) fn differences(cp: &Tree, ours: &Tree) -> Vec<String> {
    let names: BTreeSet<_> = cp.keys().chain(ours.keys()).collect();
    names
        .into_iter()
        .filter(|name| match (cp.get(*name), ours.get(*name)) {
            (Some(cp), Some(ours)) => !cp.agrees(ours),
            _ => true,
        })
        .take(20)
        .map(|name| {
            format!(
                "{}:\n  cp     {:?}\n  mmapcp {:?}",
                name.display(),
                cp.get(name),
                ours.get(name)
            )
        })
        .collect()
}
