//! What a guest boots into: busybox, the project's programs, the kernel's modules, and a job.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::debian_archive::Kernel;

/// The first program: mounts what every job needs, runs the job, ends the machine. What the job says goes to the second
/// serial line, where the kernel says nothing; the last line is its exit status.
const INIT: &str = r#"#!/bin/sh
/bin/busybox mkdir -p /bin /dev /proc /sys /tmp /disk
/bin/busybox --install -s /bin
export PATH=/programs:/bin LC_ALL=C
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777,size=95% shm /dev/shm
stty -F /dev/ttyS1 raw
for module in /modules/*.ko; do
    [ -e "$module" ] && insmod "$module"
done
# By their serials: the kernel numbers them as they answer.
for disk in /sys/block/vd*; do
    [ -e "$disk" ] && ln -s "${disk##*/}" "/dev/$(cat "$disk/serial")"
done
sh /job > /dev/ttyS1
echo "ended $?" > /dev/ttyS1
sync
reboot -f
"#;

/// The archive (cpio, newc) of a machine that has this kernel's modules and these programs and runs `job`.
///
/// # Errors
/// busybox, cpio or a program is missing; no room.
pub(crate) fn write(kernel: &Kernel, programs: &Path, job: &str, to: &Path) -> Result<()> {
    let root = tempfile::tempdir_in(to.parent().context("no directory")?)?;
    let dir = |name: &str| -> Result<std::path::PathBuf> {
        let dir = root.path().join(name);
        fs::create_dir(&dir)?;
        Ok(dir)
    };
    let bin = dir("bin")?;
    fs::copy(busybox()?, bin.join("busybox"))?;
    symlink("busybox", bin.join("sh"))?;
    let own = dir("programs")?;
    for name in ["mmapcp", "forklat"] {
        fs::copy(programs.join(name), own.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    let modules = dir("modules")?;
    for module in &kernel.modules {
        fs::copy(module, modules.join(module.file_name().unwrap_or_default()))?;
    }
    fs::write(root.path().join("job"), job)?;
    let init = root.path().join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(init, fs::Permissions::from_mode(0o755))?;
    pack(root.path(), to)
}

/// busybox, which must be static: the guest has no libraries.
fn busybox() -> Result<&'static str> {
    let path = "/bin/busybox";
    let mut magic = Vec::new();
    File::open(path)
        .with_context(|| format!("cannot open {path}"))?
        .read_to_end(&mut magic)?;
    let interpreter = b"/lib64/ld-linux";
    let dynamic = magic.windows(interpreter.len()).any(|at| at == interpreter);
    ensure!(!dynamic, "{path} is not static: install busybox-static");
    Ok(path)
}

/// Everything below `root`, owned by root.
fn pack(root: &Path, to: &Path) -> Result<()> {
    let mut names = Vec::new();
    list(root, root, &mut names)?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=+0:+0", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(to)?)
        .spawn()
        .context("cannot run cpio")?;
    let mut input = cpio.stdin.take().context("no pipe")?;
    input.write_all(names.join("\n").as_bytes())?;
    drop(input);
    let status = cpio.wait()?;
    ensure!(status.success(), "cpio: {status}");
    Ok(())
}

/// The names below `dir`, each directory before what is in it.
fn list(root: &Path, dir: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?;
        names.push(name.to_str().context("not UTF-8")?.to_owned());
        if path.is_dir() && !path.is_symlink() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}
