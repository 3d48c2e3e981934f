//! What is copied while calls fail, and what must be true afterwards.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::fault_tracer::{FaultTrace, TraceeEnd};
use crate::support::*;

/// The files that are copied: one below the limit of small files, one of a few pieces, and one for which blocks are
/// reserved. The larger two have a hole, and all end inside a sector.
const SIZES: [u64; 3] = [20 * KIB + 5, 1300 * KIB + 77, 5 * MIB + 77];

/// Where the holes of the larger files are.
const HOLE_EXTENT: (u64, u64) = (512 * KIB, 256 * KIB);

/// Bytes by which an old file is longer than the one that replaces it.
const OLD_FILE_EXTRA_BYTES: u64 = 10_000;

/// How a copy is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyVariant {
    New,
    Over,
    Fsync,
    FsyncOver,
    Atomic,
    AtomicNew,
    AtomicFsync,
    Backup,
    AtomicBackup,
    Tree,
    Archive,
    Limit,
    Sparse,
    /// Over an old file, with four pieces on their way at once.
    InFlight,
    /// From a pipe.
    Stream,
    /// Read back and compared, with its digest.
    Verify,
    AtomicVerify,
    /// With its digest in a file beside it.
    Manifest,
    /// What has failed is completed by the same command.
    Resume,
    AtomicResume,
}

pub(super) const COPY_VARIANTS: [CopyVariant; 20] = [
    CopyVariant::New,
    CopyVariant::Over,
    CopyVariant::Fsync,
    CopyVariant::FsyncOver,
    CopyVariant::Atomic,
    CopyVariant::AtomicNew,
    CopyVariant::AtomicFsync,
    CopyVariant::Backup,
    CopyVariant::AtomicBackup,
    CopyVariant::Tree,
    CopyVariant::Archive,
    CopyVariant::Limit,
    CopyVariant::Sparse,
    CopyVariant::InFlight,
    CopyVariant::Stream,
    CopyVariant::Verify,
    CopyVariant::AtomicVerify,
    CopyVariant::Manifest,
    CopyVariant::Resume,
    CopyVariant::AtomicResume,
];

impl CopyVariant {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::New | Self::Over | Self::Stream => &[],
            Self::Fsync | Self::FsyncOver => &["--fsync"],
            Self::Atomic | Self::AtomicNew => &["--atomic"],
            Self::AtomicFsync => &["--atomic", "--fsync"],
            Self::Backup => &["--backup=numbered"],
            Self::AtomicBackup => &["--atomic", "--backup=numbered"],
            Self::Tree => &["-r"],
            Self::Archive => &["-a", "--jobs=2"],
            // Every piece asks for leave, and none waits for long.
            Self::Limit => &["--limit-rate=8G"],
            Self::Sparse => &["--sparse=always"],
            Self::InFlight => &["--in-flight=4M"],
            Self::Verify => &["--verify", "--checksum"],
            Self::AtomicVerify => &["--verify", "--atomic", "--fsync"],
            Self::Manifest => &["--fsync"],
            Self::Resume => &["--resume"],
            Self::AtomicResume => &["--resume", "--atomic"],
        }
    }

    fn is_tree(self) -> bool {
        matches!(self, Self::Tree | Self::Archive)
    }

    fn is_atomic(self) -> bool {
        self.options().contains(&"--atomic")
    }

    /// Whether exit 0 promises that everything is on the disk.
    pub(super) fn is_durable(self) -> bool {
        self.options().contains(&"--fsync")
    }

    /// Whether the same command completes what was interrupted.
    fn is_resumable(self) -> bool {
        self.options().contains(&"--resume")
    }

    fn has_backup(self) -> bool {
        matches!(self, Self::Backup | Self::AtomicBackup)
    }

    /// Whether a file is there already.
    fn has_old(self) -> bool {
        !self.is_tree()
            && !matches!(
                self,
                Self::New | Self::AtomicNew | Self::Fsync | Self::Stream | Self::Manifest
            )
    }
}

/// One copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FaultScenario {
    /// A row of the table, `auto` or `reflink`.
    pub(super) engine: &'static str,
    pub(super) variant: CopyVariant,
    /// The number of the file in [`SIZES`].
    pub(super) file: usize,
}

/// All scenes that this machine can play: blocks are shared only where the lab has a file system for it.
pub(super) fn all_scenarios(shares_blocks: bool) -> Vec<FaultScenario> {
    let reflink = shares_blocks.then_some("reflink");
    let engines = ["auto"].into_iter().chain(ENGINES).chain(reflink);
    let mut scenes = Vec::new();
    for engine in engines {
        for manner in COPY_VARIANTS {
            // A tree has files of all sizes.
            let files = if manner.is_tree() { 1 } else { SIZES.len() };
            scenes.extend((0..files).map(|file| FaultScenario {
                engine,
                variant: manner,
                file,
            }));
        }
    }
    // What a pipe holds must be read, and holes that are made cannot be shared.
    let reads = ["auto", "direct", "dontcache", "buffered"];
    scenes.retain(|s| s.variant != CopyVariant::Stream || reads.contains(&s.engine));
    scenes.retain(|s| !(s.engine == "reflink" && s.variant == CopyVariant::Sparse));
    scenes.retain(|s| !(s.engine == "reflink" && s.variant.is_resumable()));
    scenes
}

/// Where the scenes of one thread are played.
pub(super) struct ScenarioFiles {
    memory: TempDir,
    disk: TempDir,
    /// On a file system that shares blocks.
    sharing: Option<TempDir>,
    contents: Vec<Vec<u8>>,
    old: Vec<Vec<u8>>,
}

impl ScenarioFiles {
    pub(super) fn new(sharing: Option<&Path>) -> Self {
        let memory = shm_dir();
        let contents: Vec<Vec<u8>> = (0..SIZES.len())
            .map(|n| {
                let path = memory.path().join(format!("file{n}"));
                make_source_file(&path, n);
                fs::read(path).unwrap()
            })
            .collect();
        let stage = Self {
            memory,
            disk: disk_dir(),
            sharing: sharing.map(scratch),
            old: SIZES
                .iter()
                .map(|size| vec![b'o'; (size + OLD_FILE_EXTRA_BYTES) as usize])
                .collect(),
            contents,
        };
        for root in stage.roots() {
            make_source_tree(root);
        }
        stage
    }

    /// The directories that everything lies below.
    pub(super) fn roots(&self) -> Vec<&Path> {
        let sharing = self.sharing.as_ref().map(TempDir::path);
        [self.memory.path(), self.disk.path()]
            .into_iter()
            .chain(sharing)
            .collect()
    }

    fn source_root(&self, scene: FaultScenario) -> &Path {
        match scene.engine {
            "reflink" => self.dest_root(scene),
            "copy-file-range" => self.disk.path(),
            _ => self.memory.path(),
        }
    }

    fn dest_root(&self, scene: FaultScenario) -> &Path {
        match (&self.sharing, scene.engine) {
            (Some(sharing), "reflink") => sharing.path(),
            _ => self.disk.path(),
        }
    }

    fn source(&self, scene: FaultScenario) -> PathBuf {
        let name = match scene.variant.is_tree() {
            true => "tree".into(),
            false => format!("file{}", scene.file),
        };
        self.source_root(scene).join(name)
    }

    fn dest(&self, scene: FaultScenario) -> PathBuf {
        self.dest_root(scene).join("to").join("copy")
    }

    fn manifest(&self, scene: FaultScenario) -> PathBuf {
        self.dest(scene).with_file_name("manifest")
    }

    /// The words of the command line.
    pub(super) fn command_line(&self, scene: FaultScenario) -> Vec<OsString> {
        let engine = match scene.engine {
            "auto" => None,
            "reflink" => Some("--reflink=always".to_owned()),
            engine => Some(format!("--engine={engine}")),
        };
        let options = scene.variant.options().iter().map(OsString::from);
        let source = match scene.variant {
            CopyVariant::Stream => "/dev/stdin".into(),
            _ => self.source(scene),
        };
        let manifest = (scene.variant == CopyVariant::Manifest)
            .then(|| format!("--manifest={}", self.manifest(scene).display()));
        let files = [source.into(), self.dest(scene).into()];
        let ours = engine.into_iter().chain(manifest).map(Into::into);
        options.chain(ours).chain(files).collect()
    }

    /// What the copy gets through a pipe.
    pub(super) fn input(&self, scene: FaultScenario) -> Option<&[u8]> {
        (scene.variant == CopyVariant::Stream).then(|| self.contents[scene.file].as_slice())
    }

    /// Makes the destination what it is before the copy.
    pub(super) fn prepare(&self, scene: FaultScenario) {
        let dest = self.dest(scene);
        let dir = dest.parent().unwrap();
        let _ = fs::remove_dir_all(dir);
        fs::create_dir(dir).unwrap();
        if scene.variant.has_old() {
            fs::write(&dest, &self.old[scene.file]).unwrap();
        }
    }

    /// Whether a copy ended as a copy may.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check_outcome(
        &self,
        scene: FaultScenario,
        trace: &FaultTrace,
    ) -> Result<(), String> {
        let succeeded = match trace.end {
            TraceeEnd::Exited(0) => true,
            TraceeEnd::Exited(1) if trace.stderr.is_empty() => {
                return Err("exit 1 without a word".into());
            }
            TraceeEnd::Exited(1) => false,
            TraceeEnd::Exited(code) => return Err(format!("exit status {code}")),
            TraceeEnd::Killed(signal) => return Err(format!("killed by {signal}")),
            TraceeEnd::Hung => return Err("it hangs".into()),
        };
        if scene.variant.is_tree() {
            self.check_tree(scene, succeeded)
        } else {
            self.check_file(scene, succeeded)
        }
    }

    fn check_file(&self, scene: FaultScenario, succeeded: bool) -> Result<(), String> {
        let new = &self.contents[scene.file];
        let old = scene.variant.has_old().then(|| &self.old[scene.file]);
        if fs::read(self.source(scene)).ok().as_ref() != Some(new) {
            return Err("the source has changed".into());
        }
        let dest = self.dest(scene);
        let there = fs::read(&dest).ok();
        let kept = there.as_ref() == old;
        let is_new = there.as_ref() == Some(new);
        if succeeded && scene.variant.has_backup() && backups(&dest).next().is_none() {
            return Err("exit 0 without a backup".into());
        }
        if succeeded && !is_new {
            return Err(format!(
                "exit 0, and the copy is {}",
                describe(there.as_deref(), new)
            ));
        }
        if scene.variant.is_atomic() && !kept && !is_new {
            let what = describe(there.as_deref(), new);
            return Err(format!("neither the old file nor the new one: {what}"));
        }
        if !kept && there.as_ref().is_some_and(|there| there.len() > new.len()) {
            let what = describe(there.as_deref(), new);
            return Err(format!("longer than its source: {what}"));
        }
        if scene.variant == CopyVariant::Manifest {
            self.check_manifest(scene, succeeded, is_new)?;
        }
        if scene.variant.is_resumable() && !succeeded {
            self.complete(scene)?;
        }
        if let Some(left) = leftover_temp_file(&dest) {
            return Err(format!("{left} is left beside the copy"));
        }
        if scene.variant.has_backup() && !kept && !backups(&dest).any(|b| Some(&b) == old) {
            return Err("the old file is lost".into());
        }
        Ok(())
    }

    /// Gives the command that has failed again, without a fault.
    fn complete(&self, scene: FaultScenario) -> Result<(), String> {
        let output = run(mmapcp().args(self.command_line(scene)));
        if !output.status.success() {
            return Err(format!("not completed: {}", describe_output(&output)));
        }
        let (there, new) = (fs::read(self.dest(scene)).ok(), &self.contents[scene.file]);
        if there.as_ref() != Some(new) {
            return Err(format!(
                "completed wrongly: {}",
                describe(there.as_deref(), new)
            ));
        }
        Ok(())
    }

    /// A manifest is there as a whole or not at all, and has no line of a file that was not copied.
    fn check_manifest(
        &self,
        scene: FaultScenario,
        succeeded: bool,
        is_new: bool,
    ) -> Result<(), String> {
        let Ok(text) = fs::read_to_string(self.manifest(scene)) else {
            return match succeeded {
                true => Err("exit 0 without the manifest".into()),
                false => Ok(()),
            };
        };
        let line = format!("{}  copy\n", sha256_of(&self.contents[scene.file]));
        match text.as_str() {
            "" if !succeeded => Ok(()),
            whole if whole == line && is_new => Ok(()),
            other => Err(format!("the manifest has {other:?}")),
        }
    }

    fn check_tree(&self, scene: FaultScenario, succeeded: bool) -> Result<(), String> {
        let (source, dest) = (self.source(scene), self.dest(scene));
        for (name, file) in TREE_FILES {
            let there = fs::read(dest.join(name)).ok();
            let new = &self.contents[file];
            let what = || format!("{name} is {}", describe(there.as_deref(), new));
            if succeeded && there.as_ref() != Some(new) {
                return Err(format!("exit 0, and {}", what()));
            }
            if there.as_ref().is_some_and(|there| there.len() > new.len()) {
                return Err(format!("longer than its source: {}", what()));
            }
            if fs::read(source.join(name)).ok().as_ref() != Some(new) {
                return Err("the source has changed".into());
            }
        }
        let link = fs::read_link(dest.join("link")).ok();
        if succeeded && link.as_deref() != Some(Path::new("a")) {
            return Err(format!("exit 0, and the link is {link:?}"));
        }
        Ok(())
    }
}

/// The files of the tree, each with the number of its content.
const TREE_FILES: [(&str, usize); 6] = [
    ("a", 0),
    ("b", 1),
    ("c", 0),
    ("sub/d", 0),
    ("sub/e", 2),
    ("sub/sub/f", 0),
];

fn make_source_file(path: &Path, file: usize) {
    let (size, end) = (SIZES[file], HOLE_EXTENT.0 + HOLE_EXTENT.1);
    if size > end {
        make_dump(path, size, &[(0, HOLE_EXTENT.0), (end, size - end)]);
    } else {
        make_dense_dump(path, size);
    }
}

fn make_source_tree(root: &Path) {
    for n in 0..SIZES.len() {
        make_source_file(&root.join(format!("file{n}")), n);
    }
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("sub/sub")).unwrap();
    for (name, file) in TREE_FILES {
        make_source_file(&tree.join(name), file);
    }
    symlink("a", tree.join("link")).unwrap();
}

fn sha256_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The contents of all numbered backups of a file.
fn backups(of: &Path) -> impl Iterator<Item = Vec<u8>> {
    let begin = format!("{}.~", of.file_name().unwrap().display());
    let beside = fs::read_dir(of.parent().unwrap()).unwrap().flatten();
    beside
        .filter(move |entry| entry.file_name().to_string_lossy().starts_with(&begin))
        .filter_map(|entry| fs::read(entry.path()).ok())
}

/// The first hidden file beside a copy: one that had its name for the time of the copy only.
fn leftover_temp_file(dest: &Path) -> Option<String> {
    let beside = fs::read_dir(dest.parent().unwrap()).unwrap().flatten();
    let mut names = beside.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| name.starts_with('.'))
}

/// How a file differs from what it should be.
fn describe(there: Option<&[u8]>, new: &[u8]) -> String {
    let Some(there) = there else {
        return "missing".into();
    };
    let same = there.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (len, full) = (there.len(), new.len());
    format!("{len} bytes, of which the first {same} are right, and its source has {full}")
}
