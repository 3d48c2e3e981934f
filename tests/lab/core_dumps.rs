//! Core dumps by `core_pattern`: the kernel pipes the memory of crashed programs to `mmapcp`, one and twenty at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::kernel::debian_archive::Kernel;
use super::kernel::virtual_machine::{Disk, VirtualMachine};
use super::kernel_versions::{EXT4_GUEST_TOOLS, KernelLab, image, scratch, selected_series};

/// The kernel that is run where `MMAPCP_KERNELS` does not name others: each takes some 40 s. With 5.10, before a core was
/// collected in another way (5.16), the same was seen.
const DEFAULT_KERNELS: &str = "6.18";

/// The line of `core_pattern` that the README has. A single `%` before the space would take the space with it.
const PATTERN: &str = "|/usr/bin/mmapcp --atomic --fsync --idle --sparse=always --keep-free=15%% --queue -T /dev/stdin /var/crash/core.%P";

/// How many programs crash at once, one run after the other.
const COUNTS: [u64; 2] = [1, 20];

/// Of a core the kernel's notes, the program's stack and its tables come on top of the memory that was filled.
const MAX_EXTRA_BYTES: u64 = 4 << 20;

/// A guest with cores of 24 MiB was done within 241 s beside a suite and builds on two cores.
const GUEST_TIMEOUT: Duration = Duration::from_secs(550);

/// The time that is allowed in addition for each MiB of a program.
const TIMEOUT_PER_MIB: Duration = Duration::from_secs(10);

/// MiB of memory that a program has filled: `MMAPCP_CORE_MIB`, or what a guest copies in some seconds.
fn heap_mib() -> u64 {
    let asked = std::env::var("MMAPCP_CORE_MIB").ok();
    asked.map_or(8, |text| text.parse().expect("a number of MiB"))
}

#[test]
fn cores_of_programs_that_crash_at_once_are_on_the_disk() {
    let Some(ready) =
        KernelLab::prepare_or_skip(&EXT4_GUEST_TOOLS, &selected_series(DEFAULT_KERNELS))
    else {
        return;
    };
    let mut wrong = Vec::new();
    for kernel in &ready.kernels {
        let started = std::time::Instant::now();
        if let Err(why) = crash_in_guest(kernel, &ready.programs) {
            wrong.push(format!("{}: {why:#}", kernel.series.name));
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{}: {seconds:.0} s", kernel.package);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Boots a guest in which programs crash, and checks what it says of their cores.
fn crash_in_guest(kernel: &Kernel, programs: &Path) -> Result<()> {
    let place = scratch()?;
    let most = COUNTS.into_iter().max().context("a count")?;
    // The programs, the content that they are filled with, and what the guest itself needs.
    let memory_mib = (most + 2) * heap_mib() + 400;
    let disk = image("ext4", most * heap_mib() * 3 / 2 + 256, place.path())?;
    let pattern = PATTERN
        .replace("/usr/bin", "/programs")
        .replace("/var/crash", "/disk/crash");
    let job = include_str!("kernel/core_dumps.sh")
        .replace("@PATTERN@", &pattern)
        .replace("@HEAP@", &heap_mib().to_string())
        .replace("@COUNTS@", &COUNTS.map(|count| count.to_string()).join(" "));
    let machine = VirtualMachine {
        kernel,
        programs,
        memory_mib: u32::try_from(memory_mib)?,
        disks: vec![Disk::image(&disk)],
        job,
        limit: GUEST_TIMEOUT + TIMEOUT_PER_MIB * u32::try_from(heap_mib())?,
    };
    let said = machine.run(place.path())?;
    for count in COUNTS {
        check_cores(&said, count)
            .with_context(|| format!("{count} at once:\n{}", said.join("\n")))?;
    }
    Ok(())
}

/// Checks the cores of `count` programs: complete ELF files with the memory in them, for their owner alone, and not in the page cache.
fn check_cores(said: &[String], count: u64) -> Result<()> {
    let heap = heap_mib() << 20;
    let after = |word: &str| -> Vec<Vec<String>> {
        let begin = format!("{word} {count} ");
        let lines = said.iter().filter_map(|line| line.strip_prefix(&begin));
        lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    let number = |word: &str| -> Result<i64> {
        let lines = after(word);
        let text = lines.first().and_then(|words| words.first());
        Ok(text.with_context(|| format!("no {word}"))?.parse()?)
    };
    let cores = after("core");
    ensure!(cores.len() as u64 == count, "{} cores", cores.len());
    ensure!(
        number("names")?.unsigned_abs() == count,
        "other names are left"
    );
    for core in cores {
        let [size, magic, kind, end, filled, mode] = core.as_slice() else {
            anyhow::bail!("{core:?}");
        };
        ensure!(magic == "ELF" && kind == "4", "no core: {core:?}");
        ensure!(end == size, "its last segment ends elsewhere: {core:?}");
        ensure!(mode == "600", "others may read it: {core:?}");
        let (size, filled): (u64, u64) = (size.parse()?, filled.parse()?);
        ensure!(filled >= heap, "memory is missing: {core:?}");
        ensure!(
            size < heap + MAX_EXTRA_BYTES,
            "larger than the program was: {core:?}"
        );
    }
    let cached = number("cached")? << 10;
    let copied = (count * heap).cast_signed();
    // A cached copy would be as large as all cores together; the file system's own blocks take some.
    ensure!(
        cached < copied / 8 + (4 << 20),
        "{cached} bytes of {copied} are in the page cache"
    );
    Ok(())
}

#[test]
fn the_tried_line_is_the_one_of_the_documentation() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::read_to_string(path).expect(name)
    };
    // The kernel keeps 127 bytes of it (CORENAME_MAX_SIZE).
    assert!(PATTERN.len() < 128);
    assert!(read("README.md").contains(PATTERN));
    // The page has it in two parts, which echo joins.
    let page = read("man/sections/mmapcp.roff").replace("\\-", "-");
    let page = page.replace("\\(aq \\e\n        \\(aq", " ");
    assert!(page.contains(PATTERN), "the manual page has another line");
}
