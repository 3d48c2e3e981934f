//! Kernels of Debian's archive: looked up, fetched and unpacked by an apt of our own, which leaves the system's as it is.

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::kernel_series::{ALL_SERIES, Series, Suite};
use super::tool_command;

/// The archive is not asked again within this time: the tests of one run do so one after another.
const INDEX_MAX_AGE: Duration = Duration::from_secs(3600);

/// Debian's keys, of the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Modules that the guests need where they are not built in; what these depend on is found by their own words.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "ext4", "xfs"];

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) series: &'static Series,
    /// The name of its package.
    pub(crate) package: String,
    pub(crate) image: PathBuf,
    /// Modules that are not built in, in the order in which they are to be loaded.
    pub(crate) modules: Vec<PathBuf>,
}

/// Where kernels are kept between runs: `$MMAPCP_LAB_CACHE`, or `mmapcp-lab` in the user's cache directory.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(given) = env::var_os("MMAPCP_LAB_CACHE") {
        return Ok(given.into());
    }
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| {
            let home = env::var_os("HOME")?;
            Some(Path::new(&home).join(".cache"))
        });
    Ok(base
        .context("neither MMAPCP_LAB_CACHE, XDG_CACHE_HOME nor HOME is set")?
        .join("mmapcp-lab"))
}

/// The newest kernel of each of these series, fetched where it is not there yet.
///
/// # Errors
/// The archive cannot be reached and there is no kernel of the series from an earlier run; no room; a package that is not as expected.
pub(crate) fn fetch(series: &[&'static Series]) -> Result<Vec<Kernel>> {
    with_apt(|home, apt| fetch_with(home, apt, series))
}

/// Calls `work` with the cache and an apt of our own that fetches into it: one caller at a time, over all processes.
///
/// # Errors
/// There is no place for the cache, Debian's keys are missing, or `work` fails.
pub(crate) fn with_apt<T>(work: impl FnOnce(&Path, &Apt<'_>) -> Result<T>) -> Result<T> {
    let home = cache()?;
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let lock = File::create(home.join("lock"))?;
    let _turn = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    work(&home, &Apt::new(&home)?)
}

fn fetch_with(home: &Path, apt: &Apt<'_>, series: &[&'static Series]) -> Result<Vec<Kernel>> {
    let updated = apt.update();
    series
        .iter()
        .map(|series| match &updated {
            Ok(()) => apt
                .newest(series)
                .and_then(|package| apt.unpack(series, &package)),
            Err(why) => {
                let kept = cached_kernel(home, series).with_context(|| {
                    format!(
                        "no kernel {} is kept in {} and {why:#}",
                        series.name,
                        home.display()
                    )
                })?;
                eprintln!("{why:#}: {} of an earlier run is taken", kept.package);
                Ok(kept)
            }
        })
        .collect()
}

/// An apt with its own lists, cache and sources, and no installed packages.
pub(crate) struct Apt<'a> {
    home: &'a Path,
}

impl<'a> Apt<'a> {
    fn new(home: &'a Path) -> Result<Self> {
        for dir in [
            "apt/lists/partial",
            "apt/cache/archives/partial",
            "debs/partial",
            "kernels",
        ] {
            fs::create_dir_all(home.join(dir)).with_context(|| format!("cannot make {dir}"))?;
        }
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is missing: install debian-archive-keyring"
        );
        fs::write(home.join("apt/status"), "")?;
        let (main, security) = mirrors()?;
        let mut sources = String::new();
        let mut suites: Vec<Suite> = ALL_SERIES.iter().map(|series| series.suite).collect();
        suites.dedup();
        for suite in suites {
            let (site, suite) = match (suite, &security) {
                (Suite::Main(suite), _) => (&main, suite),
                (Suite::Security(suite), Some(security)) => (security, suite),
                // A kernel that is only there is then missing from the lists, which is said where it is asked for.
                (Suite::Security(_), None) => continue,
            };
            writeln!(
                sources,
                "deb [signed-by={KEYRING} arch=amd64] {site} {suite} main"
            )?;
        }
        let (list, stamp) = (home.join("apt/sources.list"), home.join("apt/updated"));
        // This system's apt may have learned of another mirror since the archive was asked.
        if fs::read_to_string(&list).is_ok_and(|old| old != sources) && stamp.exists() {
            fs::remove_file(stamp)?;
        }
        fs::write(list, sources)?;
        Ok(Self { home })
    }

    /// A tool of apt's that knows only our lists, cache and sources.
    pub(crate) fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        let home = self.home.display();
        for option in [
            format!("Dir::State={home}/apt"),
            format!("Dir::State::lists={home}/apt/lists"),
            format!("Dir::State::status={home}/apt/status"),
            format!("Dir::Cache={home}/apt/cache"),
            format!("Dir::Etc::sourcelist={home}/apt/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Retries=3".into(),
            "APT::Update::Error-Mode=any".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Asks the archive what there is, unless that was done a short while ago.
    ///
    /// # Errors
    /// The archive cannot be reached.
    pub(crate) fn update(&self) -> Result<()> {
        let stamp = self.home.join("apt/updated");
        let age = fs::metadata(&stamp).and_then(|stamp| stamp.modified());
        if age.is_ok_and(|then| then.elapsed().is_ok_and(|age| age < INDEX_MAX_AGE)) {
            return Ok(());
        }
        tool_command::stdout_of(self.command("apt-get").args(["-q", "update"]))?;
        File::create(stamp)?;
        Ok(())
    }

    /// The name of the newest package of a series.
    fn newest(&self, series: &Series) -> Result<String> {
        let prefix = format!("linux-image-{}.", series.name);
        let names = tool_command::stdout_of(self.command("apt-cache").args(["pkgnames", &prefix]))?;
        let newest = names
            .lines()
            .filter(|name| name.ends_with("-cloud-amd64"))
            .max_by_key(|name| version_numbers(&name[prefix.len()..]));
        newest
            .map(Into::into)
            .with_context(|| format!("the archive has no package {prefix}*-cloud-amd64"))
    }

    /// Fetches what a package brings and unpacks it, unless an earlier run did.
    fn unpack(&self, series: &'static Series, package: &str) -> Result<Kernel> {
        let place = self.home.join("kernels").join(series.name);
        if let Some(kept) = cached_kernel(self.home, series).filter(|kept| kept.package == package)
        {
            return Ok(kept);
        }
        let debs = tempfile::tempdir_in(self.home.join("debs"))?;
        // apt checks what it has fetched against the signed list.
        let mut fetch = self.command("apt-get");
        fetch
            .args(["-q", "download"])
            .args(self.with_parts(package)?);
        tool_command::stdout_of(fetch.current_dir(debs.path()))?;
        let files = tempfile::tempdir_in(self.home.join("debs"))?;
        for deb in fs::read_dir(debs.path())? {
            tool_command::stdout_of(
                Command::new("dpkg")
                    .arg("-x")
                    .arg(deb?.path())
                    .arg(files.path()),
            )?;
        }
        let made = tempfile::tempdir_in(self.home.join("kernels"))?;
        install_kernel_files(files.path(), made.path())
            .with_context(|| format!("{package} is not as expected"))?;
        fs::write(made.path().join("package"), package)?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(made.keep(), &place)?;
        cached_kernel(self.home, series).context("what was unpacked is not there")
    }

    /// A package with those that it is split into: binary and modules, since 6.19.
    fn with_parts(&self, package: &str) -> Result<Vec<String>> {
        let told = tool_command::stdout_of(self.command("apt-cache").args([
            "show",
            "--no-all-versions",
            package,
        ]))?;
        let depends = told
            .lines()
            .find_map(|line| line.strip_prefix("Depends: "))
            .unwrap_or_default();
        let names = depends
            .split(", ")
            .filter_map(|word| word.split(' ').next());
        let parts = names
            .filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
        Ok([package].into_iter().chain(parts).map(Into::into).collect())
    }
}

/// Returns the mirror of Debian that this system's own apt sources name, and that of its security updates where they name one.
///
/// # Errors
/// They name no mirror: this is no Debian, or its sources have other paths.
fn mirrors() -> Result<(String, Option<String>)> {
    let mut list = Command::new("apt-get");
    list.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]);
    let uris = tool_command::stdout_of(&mut list)?;
    let find = |end: &str| {
        let found = uris
            .lines()
            .map(|uri| uri.trim_end_matches('/'))
            .find(|uri| uri.ends_with(end));
        found.map(|uri| format!("{uri}/"))
    };
    let main =
        find("/debian").context("the sources of this system's apt name no mirror of Debian")?;
    Ok((main, find("/debian-security")))
}

/// The numbers of a version, which order it among those of its series.
fn version_numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// From an unpacked package: `vmlinuz`, and the modules as `NN-name.ko` in the order of loading.
fn install_kernel_files(files: &Path, place: &Path) -> Result<()> {
    let image = tool_command::stdout_of(
        Command::new("find")
            .arg(files)
            .args(["-name", "vmlinuz*", "-type", "f"]),
    )?;
    let image = image.lines().next().context("no vmlinuz")?;
    fs::copy(image, place.join("vmlinuz"))?;
    let found = tool_command::stdout_of(
        Command::new("find")
            .arg(files)
            .args(["-name", "*.ko", "-o", "-name", "*.ko.xz"]),
    )?;
    let found: Vec<&Path> = found.lines().map(Path::new).collect();
    let mut order = Vec::new();
    for name in MODULES {
        add_module(name, &found, &mut order)?;
    }
    for (n, (name, content)) in order.iter().enumerate() {
        fs::write(place.join(format!("{n:02}-{name}.ko")), content)?;
    }
    Ok(())
}

/// A module behind those that it depends on; one that is built in has no file.
fn add_module(name: &str, found: &[&Path], order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let Some(path) = found.iter().find(|path| module_name(path) == name) else {
        return Ok(());
    };
    let content = if path.extension().is_some_and(|end| end == "xz") {
        tool_command::stdout_bytes_of(Command::new("xz").args(["-d", "-c"]).arg(path))?
    } else {
        fs::read(path)?
    };
    for other in depends(&content) {
        add_module(&other, found, order)?;
    }
    order.push((name.to_owned(), content));
    Ok(())
}

/// `virtio-pci.ko.xz` is the module virtio_pci.
fn module_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

/// What a module says of itself: `depends=a,b`.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = module.windows(key.len()).position(|at| at == key) else {
        return Vec::new();
    };
    let value = &module[start + key.len()..];
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    let text = String::from_utf8_lossy(&value[..end]).into_owned();
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

/// The kernel of a series that an earlier run has unpacked.
fn cached_kernel(home: &Path, series: &'static Series) -> Option<Kernel> {
    let place = home.join("kernels").join(series.name);
    let package = fs::read_to_string(place.join("package")).ok()?;
    let mut modules: Vec<PathBuf> = fs::read_dir(&place)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "ko"))
        .collect();
    modules.sort();
    Some(Kernel {
        series,
        package,
        image: place.join("vmlinuz"),
        modules,
    })
}
