//! File systems for the length of a test: made, mounted, and gone again when the guard is dropped, also in a panic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{LAB_DIR, lab_temp_dir, run_tool};

const HUGEPAGE_POOL: &str = "/proc/sys/vm/nr_hugepages";
const FREE_HUGEPAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/// What the lab can mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FsKind {
    Btrfs,
    BtrfsCompressed,
    BtrfsNodatacow,
    Ext4,
    Ext4Journalled,
    Ext4SmallBlocks,
    Fuse,
    Hugetlbfs,
    Overlay,
    Ramfs,
    Tmpfs,
    TmpfsHuge,
    Xfs,
    XfsBigSectors,
}

impl FsKind {
    /// The mkfs line without the image, for kinds that live in one.
    fn mkfs(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Btrfs | Self::BtrfsCompressed | Self::BtrfsNodatacow => {
                Some(&["mkfs.btrfs", "-q", "-f"])
            }
            Self::Ext4 | Self::Ext4Journalled => Some(&["mkfs.ext4", "-q", "-F", "-b", "4096"]),
            Self::Ext4SmallBlocks => Some(&["mkfs.ext4", "-q", "-F", "-b", "1024"]),
            Self::Xfs => Some(&["mkfs.xfs", "-q", "-f"]),
            Self::XfsBigSectors => Some(&["mkfs.xfs", "-q", "-f", "-s", "size=4096"]),
            Self::Fuse
            | Self::Hugetlbfs
            | Self::Overlay
            | Self::Ramfs
            | Self::Tmpfs
            | Self::TmpfsHuge => None,
        }
    }

    fn mount_options(self) -> &'static str {
        match self {
            Self::BtrfsCompressed => "loop,compress-force=zstd",
            Self::BtrfsNodatacow => "loop,nodatacow",
            Self::Ext4Journalled => "loop,data=journal",
            _ => "loop",
        }
    }

    /// The line that checks an image without changing it.
    fn fsck(self) -> &'static [&'static str] {
        match self {
            Self::Btrfs | Self::BtrfsCompressed | Self::BtrfsNodatacow => {
                &["btrfs", "check", "--readonly"]
            }
            Self::Xfs | Self::XfsBigSectors => &["xfs_repair", "-n", "-f"],
            _ => &["e2fsck", "-f", "-n"],
        }
    }
}

/// What has to be undone, in reverse.
enum Undo {
    Image(PathBuf),
    Pool,
    Unmount(PathBuf),
}

/// A mounted file system; `dir` is where.
pub(super) struct Mount {
    pub(super) dir: PathBuf,
    pub(super) kind: FsKind,
    home: Option<TempDir>,
    undo: Vec<Undo>,
}

impl Mount {
    pub(super) fn new(kind: FsKind, mib: u64) -> Result<Self, String> {
        let mut mount = Self::prepare(kind)?;
        mount.build(mib)?;
        Ok(mount)
    }

    pub(super) fn thin(kind: FsKind, mib: u64, backing: u64) -> Result<Self, String> {
        let mut mount = Self::prepare(kind)?;
        let store = mount.subdir("store")?;
        mount.mount_at(
            &store,
            &["-t", "tmpfs", "-o", &format!("size={backing}m"), "thin"],
        )?;
        let dir = mount.dir.clone();
        mount.mount_image(kind, mib, &store, &dir)?;
        Ok(mount)
    }

    /// A file system whose image is a file on another, which must outlive this.
    pub(super) fn inside(kind: FsKind, mib: u64, store: &Mount) -> Result<Self, String> {
        let mut mount = Self::prepare(kind)?;
        let dir = mount.dir.clone();
        mount.mount_image(kind, mib, &store.dir, &dir)?;
        Ok(mount)
    }

    /// What a copy of an image holds, journal replayed. The original may be mounted.
    pub(super) fn copy(kind: FsKind, image: &Path) -> Result<Self, String> {
        let mut mount = Self::prepare(kind)?;
        let dir = mount.dir.clone();
        mount.undo.push(Undo::Image(image.to_owned()));
        // xfs refuses a second one with the same identity.
        let options = match kind {
            FsKind::Xfs => "loop,nouuid",
            kind => kind.mount_options(),
        };
        mount.mount_at(&dir, &["-o", options, &image.to_string_lossy()])?;
        Ok(mount)
    }

    /// A second view of a directory.
    pub(super) fn bind(original: &Path) -> Result<Self, String> {
        let mut mount = Self::prepare(FsKind::Ext4)?;
        let dir = mount.dir.clone();
        mount.mount_at(&dir, &["--bind", &original.to_string_lossy()])?;
        Ok(mount)
    }

    /// One file under a second name.
    pub(super) fn bind_file(original: &Path, name: &Path) -> Result<Self, String> {
        let mut mount = Self::prepare(FsKind::Ext4)?;
        mount.mount_at(name, &["--bind", &original.to_string_lossy()])?;
        Ok(mount)
    }

    /// The file that holds the file system, where one does.
    pub(super) fn image(&self) -> Option<&Path> {
        self.undo.iter().find_map(|undo| match undo {
            Undo::Image(image) => Some(image.as_path()),
            Undo::Pool | Undo::Unmount(_) => None,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Bytes that an ordinary write can still take; root may use the reserve, so `f_bfree`.
    pub(super) fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.dir).expect("statvfs");
        stat.blocks_free() * stat.fragment_size()
    }

    pub(super) fn make_read_only(&self) -> Result<(), String> {
        self.remount("ro")
    }

    /// Mounts it again with one option more.
    pub(super) fn remount(&self, option: &str) -> Result<(), String> {
        let options = format!("remount,{option}");
        run_tool("mount", &[Path::new("-o"), options.as_ref(), &self.dir]).map(drop)
    }

    /// Unmounts, lets the file system's own checker judge the image, and mounts it again.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let dir = self.dir.clone();
        unmount(&dir)?;
        self.undo.pop();
        let Some(Undo::Image(image)) = self.undo.last() else {
            return Err("there is no image".into());
        };
        detach_loop(image)?;
        let image = image.to_string_lossy().into_owned();
        let (tool, args) = self.kind.fsck().split_first().expect("a checker");
        run_tool(tool, &[args, &[&image]].concat())?;
        self.mount_at(&dir, &["-o", self.kind.mount_options(), &image])
    }

    fn prepare(kind: FsKind) -> Result<Self, String> {
        let home = lab_temp_dir().map_err(|why| why.to_string())?;
        let dir = home.path().join("mnt");
        fs::create_dir(&dir).map_err(|why| why.to_string())?;
        Ok(Self {
            dir,
            kind,
            home: Some(home),
            undo: Vec::new(),
        })
    }

    fn build(&mut self, mib: u64) -> Result<(), String> {
        let dir = self.dir.clone();
        match self.kind {
            FsKind::Fuse => {
                let below = self.lower(mib)?;
                run_tool("bindfs", &[&below, &dir])?;
                self.undo.push(Undo::Unmount(dir));
                Ok(())
            }
            FsKind::Hugetlbfs => {
                self.grow_pool(mib / 2)?;
                self.mount_at(&dir, &["-t", "hugetlbfs", "-o", "pagesize=2M", "lab"])
            }
            FsKind::Overlay => self.mount_overlay(mib, &dir),
            FsKind::Ramfs => self.mount_at(&dir, &["-t", "ramfs", "lab"]),
            FsKind::Tmpfs => {
                self.mount_at(&dir, &["-t", "tmpfs", "-o", &format!("size={mib}m"), "lab"])
            }
            FsKind::TmpfsHuge => self.mount_at(
                &dir,
                &[
                    "-t",
                    "tmpfs",
                    "-o",
                    &format!("size={mib}m,huge=always"),
                    "lab",
                ],
            ),
            kind => {
                let home = self.home().to_owned();
                self.mount_image(kind, mib, &home, &dir)
            }
        }
    }

    fn home(&self) -> &Path {
        self.home.as_ref().expect("a home until the drop").path()
    }

    fn subdir(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.home().join(name);
        fs::create_dir(&dir).map_err(|why| why.to_string())?;
        Ok(dir)
    }

    /// The ext4 below an overlay or a FUSE mount.
    fn lower(&mut self, mib: u64) -> Result<PathBuf, String> {
        let lower = self.subdir("lower")?;
        let home = self.home().to_owned();
        self.mount_image(FsKind::Ext4, mib, &home, &lower)?;
        Ok(lower)
    }

    fn mount_overlay(&mut self, mib: u64, dir: &Path) -> Result<(), String> {
        let lower = self.lower(mib)?;
        for name in ["base", "upper", "work"] {
            fs::create_dir(lower.join(name)).map_err(|why| why.to_string())?;
        }
        let at = lower.display();
        let options = format!("lowerdir={at}/base,upperdir={at}/upper,workdir={at}/work");
        self.mount_at(dir, &["-t", "overlay", "-o", &options, "lab"])
    }

    fn mount_image(
        &mut self,
        kind: FsKind,
        mib: u64,
        store: &Path,
        dir: &Path,
    ) -> Result<(), String> {
        let image = store.join("image");
        File::create(&image)
            .and_then(|file| file.set_len(mib << 20))
            .map_err(|why| why.to_string())?;
        let name = image.to_string_lossy().into_owned();
        let (tool, args) = kind
            .mkfs()
            .expect("a kind with an image")
            .split_first()
            .expect("a tool");
        run_tool(tool, &[args, &[&name]].concat())?;
        self.undo.push(Undo::Image(image));
        self.mount_at(dir, &["-o", kind.mount_options(), &name])
    }

    fn mount_at(&mut self, dir: &Path, args: &[&str]) -> Result<(), String> {
        run_tool("mount", &[args, &[&dir.to_string_lossy()]].concat())?;
        self.undo.push(Undo::Unmount(dir.to_owned()));
        Ok(())
    }

    /// Adds pages to the pool of huge pages. Only the holder of the lab's turn does this, so the value it restores is
    /// the one the machine had.
    fn grow_pool(&mut self, pages: u64) -> Result<(), String> {
        let number = |path| fs::read_to_string(path).map_err(|why| format!("{path}: {why}"));
        let before = number(HUGEPAGE_POOL)?;
        let had: u64 = before
            .trim()
            .parse()
            .map_err(|why| format!("{HUGEPAGE_POOL}: {why}"))?;
        fs::write(pool_backup_file(), before).map_err(|why| why.to_string())?;
        self.undo.push(Undo::Pool);
        fs::write(HUGEPAGE_POOL, (had + pages).to_string())
            .map_err(|why| format!("{HUGEPAGE_POOL}: {why}"))?;
        let free = number(FREE_HUGEPAGES)?;
        if free.trim().parse::<u64>().is_ok_and(|free| free >= pages) {
            Ok(())
        } else {
            Err(format!(
                "only {} of {pages} huge pages could be had",
                free.trim()
            ))
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        while let Some(step) = self.undo.pop() {
            let undone = match &step {
                Undo::Image(image) => detach_loop(image),
                Undo::Pool => restore_hugepage_pool(),
                Undo::Unmount(dir) => unmount(dir),
            };
            if let Err(why) = undone {
                // Deleting a directory that is still mounted would delete through it.
                let kept = self.home.take().map(TempDir::keep);
                eprintln!("the lab could not clean up {kept:?}: {why}");
                return;
            }
        }
    }
}

/// Where the pool's earlier size is noted while the lab has changed it: a killed run cannot restore it, the next one can.
fn pool_backup_file() -> PathBuf {
    Path::new(LAB_DIR).join("lab.pool")
}

/// Gives the pool of huge pages the size it had before the lab changed it.
pub(super) fn restore_hugepage_pool() -> Result<(), String> {
    let Ok(before) = fs::read_to_string(pool_backup_file()) else {
        return Ok(());
    };
    fs::write(HUGEPAGE_POOL, before)
        .and_then(|()| fs::remove_file(pool_backup_file()))
        .map_err(|why| format!("{HUGEPAGE_POOL}: {why}"))
}

/// Something may hold the mount for a moment more (a FUSE daemon on its way out, udev): retry, then detach lazily.
fn unmount(dir: &Path) -> Result<(), String> {
    for _ in 0..50 {
        if run_tool("umount", &[dir]).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    run_tool("umount", &[Path::new("-l"), dir]).map(drop)
}

/// Waits until no loop device holds the image; `mount -o loop` detaches by itself, a moment after the unmount.
fn detach_loop(image: &Path) -> Result<(), String> {
    let name = image.to_string_lossy();
    for attempt in 0..100 {
        let devices = run_tool("losetup", &["-n", "-O", "NAME", "-j", &name])?;
        let Some(device) = devices.split_whitespace().next() else {
            return Ok(());
        };
        if attempt > 50 {
            let _ = run_tool("losetup", &["-d", device]);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("a loop device still holds {name}"))
}
