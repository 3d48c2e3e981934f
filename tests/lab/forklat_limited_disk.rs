//! The disk that `--disk-limit` makes: its requests are held below its scheduler, and nothing of it stays, however forklat
//! ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::forklat_host_changes::{
    DIRTY_RATIO_FILE, FORKLAT_FAILED, assert_says, available, controller,
};
use super::test_filesystem::FsKind;
use super::{Lab, skip};
use crate::compare_fixtures::*;
use crate::support::*;

const TOOLS: [&str; 2] = ["mkfs.ext4", "dd"];

/// 20 MiB/s, on a disk that the probes and one small dump fit on.
const LIMIT: [&str; 2] = ["--disk-limit=20M", "--disk-limit-size=256M"];

/// The laboratory, and what holds disks here; `None` after saying why a limited disk cannot be made.
fn limited_disk_lab() -> Option<Lab> {
    let lab = Lab::acquire_or_skip(&TOOLS)?;
    if controller().is_none() {
        return skip("there is neither cgroup v1 blkio nor cgroup v2 io");
    }
    if !Path::new("/dev/loop-control").exists() {
        return skip("there are no loop devices");
    }
    Some(lab)
}

/// The loop devices whose file lies in the directory of the copies, and the mounts there.
fn devices_and_mounts(place: &CompareFixture) -> Vec<PathBuf> {
    let ours = place.copy_dir.to_str().expect("UTF-8");
    let has_our_file = |device: &PathBuf| {
        fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| file.contains(ours))
    };
    let devices = names(Path::new("/sys/block"))
        .into_iter()
        .filter(has_our_file);
    let table = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let points = points
        .filter(|point| point.starts_with(ours))
        .map(PathBuf::from);
    devices.chain(points).collect()
}

fn assert_no_disk_left(place: &CompareFixture, output: &Output) {
    let left = devices_and_mounts(place);
    assert!(left.is_empty(), "{left:?}: {}", describe_output(output));
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

/// The scheduler, the queue of requests and writeback throttling see a disk that is busy, and the real disk has no limit.
#[test]
fn a_limited_disk_is_busy_below_its_scheduler() {
    let Some(_lab) = limited_disk_lab() else {
        return;
    };
    let place = CompareFixture::new();
    // One file is written past the cache and another through it; as long as they are, the queue is looked at.
    let script = r#"queue=/sys/block/$(basename "$(sed -n "s# $1 .*##p" /proc/mounts)")
        cat "$queue/queue/nr_requests" "$queue/queue/scheduler" >"$2/queue"
        dd if=/dev/zero of="$1/direct" bs=1M count=16 oflag=direct status=none && \
        dd if=/dev/zero of="$1/cached" bs=1M count=16 conv=fsync status=none &
        while kill -0 $! 2>/dev/null; do cat "$queue/inflight"; sleep .01; done >"$2/inflight""#;
    let mut command = place.forklat();
    command.args(["run", "--baseline=0", "--settle=0", "--probe=fsync", "--on"]);
    command.arg(&place.copy_dir).args(LIMIT);
    let json = place.path("report.json");
    command.arg("--export-json").arg(&json);
    command.args(["--", "sh", "-c", script, "sh", "{disk}"]);
    let output = place.run(command.arg(place.path("")));
    assert_exit(&output, 0);
    assert_no_disk_left(&place, &output);
    let report: Value = serde_json::from_str(&place.text("report.json")).expect("a report");
    let queue = place.text("queue");
    assert!(queue.contains("[mq-deadline]"), "{queue}");
    let length: u64 = queue
        .lines()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("nr_requests");
    let text = place.text("inflight");
    let writes = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
    let most: u64 = writes.max().expect("samples of the queue");
    assert!((1..=length).contains(&most), "{most} of {length}: {text}");
    let device = &report["facts"]["on"]["device"];
    assert_eq!(device["scheduler"], "mq-deadline", "{device}");
    assert!(notes(&report).contains("held below its scheduler (mq-deadline, nr_requests"));
}

#[test]
fn tools_are_compared_on_a_limited_disk_and_it_goes() {
    let Some(_lab) = limited_disk_lab() else {
        return;
    };
    let place = CompareFixture::new();
    let tools = [
        place.tool("cp", "df \"$2\" >\"$HERE/seen\"; cp \"$1\" \"$2\""),
        place.tool("fails", "exit 3"),
    ];
    let (output, report) = place.report(place.compare_once(&tools).args(LIMIT));
    assert_exit(&output, 1);
    assert_no_disk_left(&place, &output);
    assert!(
        notes(&report).contains("held below its scheduler"),
        "{report:#}"
    );
    let device = report["facts"]["on"]["device"]["name"]
        .as_str()
        .expect("a device");
    assert!(device.starts_with("loop"), "{device}");
    assert!(!Path::new("/sys/block").join(device).join("loop").exists());
}

#[test]
fn a_signal_removes_a_limited_disk() {
    let Some(_lab) = limited_disk_lab() else {
        return;
    };
    let place = CompareFixture::new();
    let mut command = place.compare_once(&[place.tool("hangs", HANGING_TOOL)]);
    let running = Running::start(command.args(LIMIT));
    wait_for_hanging_tool(&place, &running);
    assert!(!devices_and_mounts(&place).is_empty());
    running.signal(Signal::SIGTERM);
    let output = place.finish(running);
    assert_signal(&output, 15);
    assert_no_disk_left(&place, &output);
}

/// How often forklat is killed: `MMAPCP_KILLS`, or twenty times.
fn kills() -> u64 {
    let asked = std::env::var("MMAPCP_KILLS").ok();
    asked.map_or(20, |text| text.parse().expect("a number in MMAPCP_KILLS"))
}

/// When it is killed: the first moments are near each other, since the devices, the file system, the mount and the limit are
/// made within 100 ms; the last lie in the measurement.
fn moment(n: u64) -> Duration {
    let (step, shift) = (n % 20, n / 20);
    Duration::from_millis(2 * step * step + shift)
}

/// With a sysctl and a balloon, or with data that are being written.
#[test]
fn killed_at_any_moment_the_next_start_removes_a_limited_disk() {
    let Some(_lab) = limited_disk_lab() else {
        return;
    };
    let before = fs::read_to_string(DIRTY_RATIO_FILE).expect("read vm.dirty_ratio");
    let place = CompareFixture::new();
    for n in 0..kills() {
        let mut command = if n % 2 == 0 && before.trim() != "0" {
            let mut command = place.compare_once(&[place.tool("cp", COPYING_TOOL)]);
            command.arg(format!("--squeeze={}", available() - (256 << 20)));
            command.arg("--sysctl=vm.dirty_ratio=15");
            command.args(LIMIT);
            command
        } else {
            let mut command = place.forklat();
            command.args([
                "run",
                "--baseline=0",
                "--settle=0",
                "--probe=write,fsync",
                "--on",
            ]);
            command.arg(&place.copy_dir).args(LIMIT);
            command.args([
                "--",
                "dd",
                "if=/dev/zero",
                "of={disk}/f",
                "bs=1M",
                "count=30",
            ]);
            command
        };
        let running = Running::start(&mut command);
        thread::sleep(moment(n));
        let pid = running.pid();
        running.signal(Signal::SIGKILL);
        let killed = running.finish();
        let said = place.restart_messages();
        assert!(!said.contains("cannot"), "{n}: {said}");
        place.assert_nothing_left(pid, &said);
        assert_no_disk_left(&place, &killed);
        let now = fs::read_to_string(DIRTY_RATIO_FILE).expect("read vm.dirty_ratio");
        assert_eq!(now, before, "{n}: {said}");
    }
}

/// A record of a disk that has gone names a path and a number that others may have now.
#[test]
fn the_mount_and_the_device_of_others_stay() {
    let Some(lab) = limited_disk_lab() else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 32) else {
        return;
    };
    let place = CompareFixture::new();
    let table = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let dir = disk.dir.to_str().expect("UTF-8");
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(1) == Some(dir));
    let device = line.and_then(|line| line.strip_prefix("/dev/loop")?.split(' ').next());
    let number = device.expect("it is on a loop device");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read the boot's id");
    let path: Vec<u8> = dir.into();
    let text = serde_json::json!({ "v": 1, "boot": boot.trim(), "entries": [
        { "kind": "loop-device", "number": number.parse::<i32>().expect("a number"), "backing": [1, 2] },
        { "kind": "mount", "path": { "Unix": path }, "device": "7:99999" },
    ] });
    fs::create_dir(place.path("state")).expect("make the directory of records");
    // No process of this number started in that tick.
    fs::write(place.path("state").join("1-1.json"), text.to_string()).expect("write a record");
    let said = place.restart_messages();
    assert!(!said.contains("cannot"), "{said}");
    assert_eq!(
        names(&place.path("state")),
        [place.path("state").join("lock")],
        "{said}"
    );
    let now = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    assert!(
        now.lines().any(|other| Some(other) == line),
        "{said}: {now}"
    );
    fs::write(disk.path("file"), "x").expect("write to the file system of others");
}

#[test]
fn a_limited_disk_that_cannot_be_is_refused_in_words() {
    let Some(_lab) = limited_disk_lab() else {
        return;
    };
    let (place, memory) = (CompareFixture::new(), shm_dir());
    let in_memory = CompareFixture::with_copy_dir(memory.path());
    for (place, words, said) in [
        (&in_memory, &["--disk-limit=20M"][..], "lies in memory"),
        (
            &place,
            &["--disk-limit=1023K"],
            "too low: at least 1.00 MiB/s are needed",
        ),
        (
            &place,
            &["--disk-limit=20M", "--disk-limit-size=63M"],
            "at least 64.00 MiB are needed",
        ),
        (
            &place,
            &["--disk-limit=20M", "--disk-limit-size=9000T"],
            "are free",
        ),
        (
            &place,
            &["--disk-limit-size=1G"],
            "option '--disk-limit' is missing",
        ),
        (
            &place,
            &["--disk-limit=2M", "--disk-limit-above=2M"],
            "cannot be used with",
        ),
    ] {
        let mut command = place.compare_once(&[place.tool("cp", COPYING_TOOL)]);
        let output = place.run(command.args(words));
        assert_exit_in(&output, FORKLAT_FAILED, said);
        assert_says(&output, said);
        assert_no_disk_left(place, &output);
    }
}
