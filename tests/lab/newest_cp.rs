//! Debian's newest cp: fetched by package name into the lab's cache, and run with its own loader and libraries, so that
//! nothing of the system's is touched. The tests compare with it beside the system's own cp.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::kernel::debian_archive::{self, Apt};
use super::kernel::tool_command;
use crate::support::is_installed;

/// The release of Debian that the newest cp is taken from: coreutils 9.7.
const SUITE: &str = "trixie";

/// cp and all that it is linked to.
const PACKAGES: [&str; 6] = [
    "coreutils",
    "libacl1",
    "libattr1",
    "libc6",
    "libpcre2-8-0",
    "libselinux1",
];

/// The files of these packages that are kept, below `usr`.
const LIBRARIES: [&str; 5] = [
    "libacl.so.1",
    "libattr.so.1",
    "libc.so.6",
    "libpcre2-8.so.0",
    "libselinux.so.1",
];

/// The name of the program, on the search path of those who run it.
pub(crate) const NAME: &str = "newest-cp";

/// Runs cp under its own name with the loader and the libraries that lie beside this script, wherever that is and whatever
/// links lead to it.
const SCRIPT: &str = "#!/bin/sh\n\
    self=$0\n\
    [ -L \"$self\" ] && self=$(readlink -f \"$self\")\n\
    here=${self%/*}\n\
    exec \"$here/loader\" --argv0 cp --library-path \"$here\" \"$here/program\" \"$@\"\n";

/// The directory that [`NAME`] lies in, with what it needs. `None` after saying why, where there is none.
pub(crate) fn directory() -> Option<&'static Path> {
    static FETCHED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FETCHED.get_or_init(|| fetch().map_err(|why| format!("{why:#}"))) {
        Ok(place) => Some(place),
        Err(why) => {
            crate::harness::skip_part(format!("there is no {NAME} to compare with: {why}"));
            None
        }
    }
}

/// Puts the program and what it needs into another directory, for users who cannot reach the cache.
pub(crate) fn copy_to(place: &Path) {
    for entry in fs::read_dir(directory().expect("fetched before")).expect("list the cache") {
        let path = entry.expect("an entry of the cache").path();
        let copy = place.join(path.file_name().expect("a name"));
        fs::hard_link(&path, &copy)
            .or_else(|_| fs::copy(&path, &copy).map(drop))
            .expect("copy the newest cp");
    }
}

/// Fetches the packages, unless what an earlier run has unpacked is the newest or the archive cannot be reached.
fn fetch() -> Result<PathBuf> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "only that of amd64 is fetched, which does not run here"
    );
    for tool in ["apt-get", "dpkg"] {
        ensure!(is_installed(tool), "{tool} is not installed");
    }
    debian_archive::with_apt(|home, apt| {
        let place = home.join(NAME);
        let wanted = apt.update().and_then(|()| offered(apt));
        match wanted {
            Ok(wanted) if kept(&place).as_ref() != Some(&wanted) => unpack(home, apt, &wanted)?,
            Ok(_) => {}
            Err(why) => {
                let kept = kept(&place).with_context(|| {
                    format!("{} has none of an earlier run, and {why:#}", home.display())
                })?;
                eprintln!("{why:#}: {NAME} of an earlier run is taken:\n{kept}");
            }
        }
        write_script(&place)?;
        let version = tool_command::stdout_of(Command::new(place.join(NAME)).arg("--version"))?;
        ensure!(
            version.starts_with("cp (GNU coreutils) "),
            "{NAME} says {version:?}"
        );
        Ok(place)
    })
}

/// What the archive offers: the names of the packages' files and their checksums.
fn offered(apt: &Apt<'_>) -> Result<String> {
    let told = tool_command::stdout_of(download(apt).arg("--print-uris").args(names()))?;
    let files = told.lines().filter_map(|line| line.split_once(' '));
    let mut files: Vec<&str> = files.map(|(_, file)| file).collect();
    files.sort_unstable();
    ensure!(
        files.len() == PACKAGES.len(),
        "the archive offers only {files:?}"
    );
    Ok(files.join("\n"))
}

fn download(apt: &Apt<'_>) -> Command {
    let mut command = apt.command("apt-get");
    command.args(["-q", "download"]);
    command
}

fn names() -> impl Iterator<Item = String> {
    PACKAGES.iter().map(|name| format!("{name}/{SUITE}"))
}

/// What the archive offered when the kept one was unpacked.
fn kept(place: &Path) -> Option<String> {
    fs::read_to_string(place.join("packages")).ok()
}

/// The script is of the tests, not of the packages: it is written anew where it is not this one.
fn write_script(place: &Path) -> Result<()> {
    let path = place.join(NAME);
    if fs::read_to_string(&path).ok().as_deref() != Some(SCRIPT) {
        let made = tempfile::NamedTempFile::new_in(place)?;
        fs::write(made.path(), SCRIPT)?;
        fs::set_permissions(made.path(), Permissions::from_mode(0o755))?;
        made.persist(path)?;
    }
    Ok(())
}

fn unpack(home: &Path, apt: &Apt<'_>, wanted: &str) -> Result<()> {
    let debs = tempfile::tempdir_in(home.join("debs"))?;
    // apt checks what it has fetched against the signed list.
    tool_command::stdout_of(download(apt).args(names()).current_dir(debs.path()))?;
    let files = tempfile::tempdir_in(home.join("debs"))?;
    for deb in fs::read_dir(debs.path())? {
        let deb = deb?.path();
        tool_command::stdout_of(Command::new("dpkg").arg("-x").arg(deb).arg(files.path()))?;
    }
    let usr = files.path().join("usr");
    let made = tempfile::tempdir_in(home)?;
    let take = |from: PathBuf, name: &str| {
        fs::copy(&from, made.path().join(name)).with_context(|| format!("no {}", from.display()))
    };
    // Not called cp: the directory stands on a search path.
    take(usr.join("bin/cp"), "program")?;
    take(usr.join("lib64/ld-linux-x86-64.so.2"), "loader")?;
    for library in LIBRARIES {
        take(usr.join("lib/x86_64-linux-gnu").join(library), library)?;
    }
    fs::write(made.path().join("packages"), wanted)?;
    tool_command::stdout_of(Command::new("chmod").args(["-R", "755"]).arg(made.path()))?;
    let place = home.join(NAME);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(made.keep(), place)?;
    Ok(())
}
