//! What forklat does to a host, and that nothing of it stays: sysctls, disk limits, filled memory; and file systems that fail it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;
use serde_json::Value;

use super::disk_full::fill_up;
use super::test_filesystem::{FsKind, Mount};
use super::{Lab, skip};
use crate::compare_fixtures::*;
use crate::support::*;

const TOOLS: [&str; 4] = ["losetup", "mkfs.ext4", "mount", "umount"];

/// Exit status when forklat itself failed.
pub(super) const FORKLAT_FAILED: Option<i32> = Some(125);

const NO_TOOLS: [&str; 0] = [];

// ---------------------------------------------------------------- sysctls

pub(super) const DIRTY_RATIO_FILE: &str = "/proc/sys/vm/dirty_ratio";

/// The laboratory, vm.dirty_ratio, and the setting of another value; `None` after saying why there is none.
fn changed_dirty_ratio() -> Option<(Lab, String, &'static str)> {
    let lab = Lab::acquire_or_skip(&NO_TOOLS)?;
    let before = fs::read_to_string(DIRTY_RATIO_FILE).expect("read vm.dirty_ratio");
    match before.trim() {
        "0" => skip("vm.dirty_bytes is set instead of vm.dirty_ratio"),
        "15" => Some((lab, before, "vm.dirty_ratio=14")),
        _ => Some((lab, before, "vm.dirty_ratio=15")),
    }
}

/// Starts a comparison with `options` whose tool hangs, and waits until it does.
fn start_hanging(place: &CompareFixture, options: &[&str]) -> Running {
    let mut command = place.compare_once(&[place.tool("hangs", HANGING_TOOL)]);
    let running = Running::start(command.args(options));
    wait_for_hanging_tool(place, &running);
    running
}

fn read_dirty_ratio() -> String {
    fs::read_to_string(DIRTY_RATIO_FILE).expect("read vm.dirty_ratio")
}

#[test]
fn a_sysctl_is_set_for_the_run_and_restored() {
    let Some((_lab, before, setting)) = changed_dirty_ratio() else {
        return;
    };
    for (end, status) in [(COPYING_TOOL, 0), ("exit 3", 1)] {
        let place = CompareFixture::new();
        let tool = place.tool(
            "looks",
            &format!("cat {DIRTY_RATIO_FILE} >\"$HERE/seen\"\n{end}"),
        );
        let output = place.run(place.compare_once(&[tool]).args(["--sysctl", setting]));
        assert_exit(&output, status);
        let (_, value) = setting.split_once('=').expect("NAME=VALUE");
        assert_eq!(place.text("seen").trim(), value);
        let table = crate::support::lossy_string(&output.stdout);
        let fact = format!("dirty_ratio {value},");
        assert!(table.contains(&fact), "what held during the run: {table}");
        assert_eq!(read_dirty_ratio(), before, "after {end}");
    }
}

/// Of two changes of one setting the first knows what the host had.
#[test]
fn sysctls_are_restored_in_reverse() {
    let Some((_lab, before, setting)) = changed_dirty_ratio() else {
        return;
    };
    let place = CompareFixture::new();
    let tool = place.tool(
        "looks",
        &format!("cat {DIRTY_RATIO_FILE} >\"$HERE/seen\"\n{COPYING_TOOL}"),
    );
    let mut command = place.compare_once(&[tool]);
    let output = place.run(command.args(["--sysctl", setting, "--sysctl", "vm.dirty_ratio=16"]));
    assert_exit(&output, 0);
    assert_eq!(place.text("seen").trim(), "16");
    assert_eq!(read_dirty_ratio(), before);
}

#[test]
fn a_signal_restores_sysctls() {
    let Some((_lab, before, setting)) = changed_dirty_ratio() else {
        return;
    };
    let place = CompareFixture::new();
    let running = start_hanging(&place, &["--sysctl", setting]);
    assert_ne!(read_dirty_ratio(), before);
    running.signal(Signal::SIGTERM);
    let output = place.finish(running);
    assert_signal(&output, 15);
    assert_eq!(read_dirty_ratio(), before);
}

/// One at a time: a second would take the settings of the first for those of the host.
#[test]
fn killed_the_next_start_restores_sysctls() {
    let Some((_lab, before, setting)) = changed_dirty_ratio() else {
        return;
    };
    let place = CompareFixture::new();
    let running = start_hanging(&place, &["--sysctl", setting]);
    let pid = running.pid();
    let mut second = place.compare_once(&[place.tool("cp", COPYING_TOOL)]);
    let refused = run(second.args(["--sysctl", setting]));
    assert_exit(&refused, FORKLAT_FAILED);
    assert_says(
        &refused,
        "another forklat is changing settings of this host",
    );
    assert_ne!(read_dirty_ratio(), before, "the first goes on");
    running.signal(Signal::SIGKILL);
    running.finish();
    assert_ne!(read_dirty_ratio(), before, "killed, it cannot restore");
    let said = place.restart_messages();
    let line = format!("set '{DIRTY_RATIO_FILE}' back to '{}'", before.trim());
    assert!(said.contains(&line), "{line} is not in: {said}");
    assert!(
        said.contains(&format!("forklat {pid} was killed")),
        "{said}"
    );
    assert_eq!(read_dirty_ratio(), before);
    place.assert_nothing_left(pid, &said);
}

#[test]
fn a_sysctl_that_cannot_be_set_is_refused_before_any_run() {
    let Some((_lab, before, setting)) = changed_dirty_ratio() else {
        return;
    };
    let place = CompareFixture::new();
    let tool = place.tool("tells", &format!("touch \"$HERE/ran\"\n{COPYING_TOOL}"));
    for (wrong, said) in [
        (
            "vm.no_such_setting=1",
            "'/proc/sys/vm/no_such_setting': No such file or directory",
        ),
        (
            "vm.dirty_ratio=101",
            "'/proc/sys/vm/dirty_ratio': Invalid argument",
        ),
        ("vm.dirty_ratio=many", "Invalid argument"),
        ("vm.dirty_ratio", "not NAME=VALUE"),
        ("vm.dirty_ratio=", "has no value"),
        ("vm.../../../tmp/x=1", "not the name of a sysctl"),
    ] {
        // The first is good, and set by then.
        let mut command = place.compare_once(std::slice::from_ref(&tool));
        let output = place.run(command.args(["--sysctl", setting, "--sysctl", wrong]));
        assert_exit_in(&output, FORKLAT_FAILED, wrong);
        assert_says(&output, said);
        assert_eq!(read_dirty_ratio(), before, "{wrong}");
        assert!(!place.path("ran").exists(), "{wrong}");
    }
}

#[test]
fn settings_need_root_and_that_is_said() {
    let Some(_lab) = Lab::acquire_or_skip(&NO_TOOLS) else {
        return;
    };
    let (open, program) = public_forklat();
    let before = read_dirty_ratio();
    for (words, said) in [
        (
            ["--sysctl=vm.dirty_ratio=33"],
            "dirty_ratio': Permission denied",
        ),
        (["--disk-limit-above=20M"], "this needs root"),
        (["--disk-limit=20M"], "this needs root"),
    ] {
        if words[0].starts_with("--disk-limit")
            && (controller().is_none() || !is_on_disk(open.path()))
        {
            continue;
        }
        let mut command = Command::new(&program);
        command
            .env("LC_ALL", "C")
            .env("FORKLAT_STATE_DIR", open.path().join("state"))
            .args(["compare", "--size=1M", "--runs=1", "--probe=fork", "--on"])
            .arg(open.path())
            .args(words);
        let output = run(as_nobody(&mut command));
        assert_exit(&output, FORKLAT_FAILED);
        assert_says(&output, said);
        assert_eq!(lossy_string(&output.stdout), "");
    }
    assert_eq!(read_dirty_ratio(), before);
}

/// Runs a script in a network of its own, whose settings (net.*) are nobody else's. `"$@"` is `command`.
fn in_own_network(place: &CompareFixture, script: &str, command: &Command) -> Output {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "sh", "-c", script, "sh"]);
    unshare.arg(command.get_program()).args(command.get_args());
    unshare.env("HERE", place.path(""));
    let set = command.get_envs();
    unshare.envs(set.filter_map(|(name, value)| Some((name, value?))));
    run(&mut unshare)
}

/// Shell: shows all settings of IPv4 that can be read and written.
const LIST_IPV4_SETTINGS: &str =
    "all() { find /proc/sys/net/ipv4 -type f -perm -u+rw -exec grep -H '' {} + | sort; }\n";

/// `net.ipv4.ip_forward` changes the interfaces, and, only when it is taken back, whether redirects are accepted. An empty
/// value is written by a newline.
#[test]
fn settings_beside_a_sysctl_and_an_empty_one_are_restored() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare", "find"]) else {
        return;
    };
    for (name, value) in [("ip_forward", "1"), ("ip_local_reserved_ports", "7000")] {
        let place = CompareFixture::new();
        let seen = format!("cat /proc/sys/net/ipv4/{name} >\"$HERE/seen\"\n{COPYING_TOOL}");
        let mut command = place.compare_once(&[place.tool("looks", &seen)]);
        command.arg(format!("--sysctl=net.ipv4.{name}={value}"));
        let script = format!(
            "{LIST_IPV4_SETTINGS}echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects\n\
             all >\"$HERE/before\"; \"$@\" || exit; all >\"$HERE/after\""
        );
        let output = in_own_network(&place, &script, &command);
        assert_exit(&output, 0);
        assert_eq!(place.text("seen").trim(), value);
        assert!(place.text("before").contains(&format!("/{name}:")));
        assert_eq!(place.text("after"), place.text("before"), "{name}");
        assert!(place.leftovers_of(Pid::this()).is_empty());
    }
}

/// The record of one that was killed holds all that its change changed.
#[test]
fn killed_the_next_start_restores_the_settings_beside_a_sysctl() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare", "find"]) else {
        return;
    };
    let place = CompareFixture::new();
    let mut command = place.compare_once(&[place.tool("hangs", HANGING_TOOL)]);
    command.arg("--sysctl=net.ipv4.ip_forward=1");
    let script = format!(
        "{LIST_IPV4_SETTINGS}all >\"$HERE/before\"; \"$@\" & until [ -s \"$HERE/pids\" ]; do sleep .05; done\n\
         kill -9 $!; wait $!; all >\"$HERE/killed\"\n\
         \"$1\" run --for=10ms --baseline=0 --settle=0 --probe=fork; all >\"$HERE/after\""
    );
    let output = in_own_network(&place, &script, &command);
    let ipv4 = "/proc/sys/net/ipv4";
    assert_says(
        &output,
        &format!(
            "set '{ipv4}/ip_forward' back to '0', '{ipv4}/conf/all/accept_redirects' to '1', \
             '{ipv4}/conf/all/forwarding' to '0', '{ipv4}/conf/default/forwarding' to '0', \
             '{ipv4}/conf/lo/forwarding' to '0'"
        ),
    );
    assert_ne!(place.text("killed"), place.text("before"));
    assert_eq!(place.text("after"), place.text("before"));
    let records = names(&place.path("state"));
    assert!(
        records.iter().all(|path| path.ends_with("lock")),
        "{records:?}"
    );
}

/// It is said at each start, with the way out, and keeps nobody from measuring.
#[test]
fn a_record_that_cannot_be_undone_does_not_refuse_every_later_run() {
    let Some(_lab) = Lab::acquire_or_skip(&["unshare"]) else {
        return;
    };
    let place = CompareFixture::new();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read the boot's id");
    let file = "/proc/sys/net/ipv4/no_such_setting";
    let text = format!(
        r#"{{"v":1,"boot":"{}","entries":[{{"kind":"sysctl","file":"{file}","old":"1"}}]}}"#,
        boot.trim()
    );
    // No process of this number started in that tick.
    let record = place.path("state").join("1-1.json");
    fs::create_dir(place.path("state")).expect("make the directory of records");
    fs::write(&record, text).expect("write a record");
    let mut command = place.compare_once(&[place.tool("cp", COPYING_TOOL)]);
    command.arg("--sysctl=net.ipv4.ip_local_reserved_ports=7000");
    for _ in 0..2 {
        let output = in_own_network(&place, "exec \"$@\"", &command);
        assert_exit(&output, 0);
        assert_says(&output, &format!("cannot write '1' to '{file}'"));
        let way_out = format!("restore that by hand, and remove '{}'", record.display());
        assert_says(&output, &way_out);
    }
    fs::remove_file(&record).expect("remove the record");
    let output = in_own_network(&place, "exec \"$@\"", &command);
    assert_eq!(lossy_string(&output.stderr), "");
}

/// Puts vm.overcommit_ratio back if forklat did not, since nobody could allocate by it.
struct RestoreOvercommitRatio(String);

impl RestoreOvercommitRatio {
    const RATIO: &'static str = "/proc/sys/vm/overcommit_ratio";

    fn all() -> [String; 3] {
        ["ratio", "kbytes", "memory"].map(|name| {
            fs::read_to_string(format!("/proc/sys/vm/overcommit_{name}")).expect("read a setting")
        })
    }
}

impl Drop for RestoreOvercommitRatio {
    fn drop(&mut self) {
        if fs::read_to_string(Self::RATIO).is_ok_and(|now| now != self.0) {
            fs::write(Self::RATIO, &self.0).expect("restore vm.overcommit_ratio");
        }
    }
}

/// Writing vm.overcommit_kbytes makes vm.overcommit_ratio 0.
#[test]
fn a_sysctl_that_changes_another_leaves_both_as_they_were() {
    let Some(_lab) = Lab::acquire_or_skip(&NO_TOOLS) else {
        return;
    };
    let before = RestoreOvercommitRatio::all();
    let [ratio, kbytes, memory] = before.clone().map(|value| value.trim().to_owned());
    if ratio == "0" || kbytes != "0" || memory == "2" {
        skip::<()>("vm.overcommit_kbytes or vm.overcommit_memory are not as most hosts have them");
        return;
    }
    let _restored = RestoreOvercommitRatio(before[0].clone());
    let place = CompareFixture::new();
    let seen = format!(
        "cat {} >\"$HERE/seen\"\n{COPYING_TOOL}",
        RestoreOvercommitRatio::RATIO
    );
    let mut command = place.compare_once(&[place.tool("looks", &seen)]);
    let output = place.run(command.arg("--sysctl=vm.overcommit_kbytes=1000000"));
    assert_exit(&output, 0);
    assert_eq!(place.text("seen"), "0\n");
    assert_eq!(RestoreOvercommitRatio::all(), before);
}

// ---------------------------------------------------------------- the disk

/// The block controller as it is found here.
pub(super) enum Controller {
    /// The top of cgroup v1 with `blkio`.
    V1(PathBuf),
    /// The top of cgroup v2 with `io`.
    V2(PathBuf),
}

impl Controller {
    /// A line of shell that shows what holds this very process.
    fn shown(&self) -> String {
        match self {
            Self::V1(top) => format!("cat {}/blkio.throttle.write_bps_device", top.display()),
            Self::V2(top) => format!(
                "cat {}$(sed -n s/^0:://p /proc/self/cgroup)/io.max",
                top.display()
            ),
        }
    }

    /// Whether a limit of the device, or a group of forklat's, is there.
    fn holds(&self, device: &str) -> bool {
        match self {
            Self::V1(top) => ["read", "write"].iter().any(|way| {
                let file = top.join(format!("blkio.throttle.{way}_bps_device"));
                let text = fs::read_to_string(file).expect("read the limits");
                text.lines()
                    .any(|line| line.starts_with(&format!("{device} ")))
            }),
            Self::V2(top) => names(top).iter().any(|path| {
                let name = path.file_name().unwrap_or_default();
                name.to_string_lossy().starts_with("forklat-")
            }),
        }
    }

    /// What the next start says that it has undone.
    fn undone(&self, device: &str) -> String {
        match self {
            Self::V1(_) => format!("took the limit off device {device}"),
            Self::V2(_) => "removed the control group".to_owned(),
        }
    }
}

/// `None` where there is none.
pub(super) fn controller() -> Option<Controller> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let mut found = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let top = PathBuf::from(fields[1]);
        let v2 = || fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
        if fields[2] == "cgroup2" && v2().split_whitespace().any(|name| name == "io") {
            return Some(Controller::V2(top));
        }
        if fields[2] == "cgroup" && fields[3].split(',').any(|option| option == "blkio") {
            found = Some(Controller::V1(top));
        }
    }
    found
}

/// Whether a path lies on a block device.
fn is_on_disk(path: &Path) -> bool {
    Path::new("/sys/dev/block").join(device(path)).exists()
}

/// The numbers of the device below a path.
fn device(path: &Path) -> String {
    let dev = fs::metadata(path).expect("stat").dev();
    format!("{}:{}", major(dev), minor(dev))
}

/// The laboratory, a disk of our own and what can hold it; `None` after saying why there is none.
fn limited_disk() -> Option<(Lab, Mount, Controller, String)> {
    limited_disk_of(Lab::acquire_or_skip(&TOOLS)?)
}

fn limited_disk_of(lab: Lab) -> Option<(Lab, Mount, Controller, String)> {
    let Some(controller) = controller() else {
        return skip("there is neither cgroup v1 blkio nor cgroup v2 io");
    };
    let disk = lab.mount(FsKind::Ext4, 128)?;
    let device = device(&disk.dir);
    Some((lab, disk, controller, device))
}

#[test]
fn a_disk_is_held_to_its_rate_and_let_go() {
    let Some((_lab, disk, controller, device)) = limited_disk() else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    let shown = controller.shown();
    let copy = r#"dd if="$1" of="$2" bs=1M oflag=direct status=none"#;
    let tool = place.tool("dd", &format!("{shown} >\"$HERE/seen\"\n{copy}"));
    let (output, report) = place.report(place.compare_once(&[tool]).arg("--disk-limit-above=20M"));
    assert_exit(&output, 0);
    let seen = place.text("seen");
    let line = seen.lines().find(|line| line.starts_with(&device));
    assert!(line.is_some_and(|line| line.contains("20971520")), "{seen}");
    // 32 MiB at that rate are 1.6 s. No machine is too slow for this.
    let wall = only_copy(&report, "dd")["wall"].as_f64().expect("seconds");
    assert!(wall >= 1.3, "{wall} s");
    let notes = report["notes"].to_string();
    assert!(notes.contains("held above its scheduler"), "{notes}");
    assert!(!controller.holds(&device));
}

#[test]
fn a_signal_and_a_failing_tool_take_the_limit_off() {
    let Some((_lab, disk, controller, device)) = limited_disk() else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    let tools = [
        place.tool("fails", "exit 3"),
        place.tool("hangs", HANGING_TOOL),
    ];
    let mut command = place.compare_once(&tools);
    let running = Running::start(command.arg("--disk-limit-above=20M"));
    wait_for_hanging_tool(&place, &running);
    assert!(controller.holds(&device));
    running.signal(Signal::SIGTERM);
    let output = place.finish(running);
    assert_signal(&output, 15);
    assert!(!controller.holds(&device));
}

#[test]
fn killed_the_next_start_takes_the_limit_off() {
    let Some((_lab, disk, controller, device)) = limited_disk() else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    let running = start_hanging(&place, &["--disk-limit-above=20M"]);
    let pid = running.pid();
    running.signal(Signal::SIGKILL);
    running.finish();
    assert!(controller.holds(&device), "killed, it cannot restore");
    let said = place.restart_messages();
    assert!(said.contains(&controller.undone(&device)), "{said}");
    assert!(!controller.holds(&device), "{said}");
    place.assert_nothing_left(pid, &said);
}

/// Killed while it waits for fsync(2), it does not end, nor let go of its lock, before all is written; and what a group had
/// dirty is held to the rate even when the group has gone. The next start has to see to both.
#[test]
fn killed_while_it_waits_for_the_disk_the_next_start_takes_the_limit_off() {
    let Some((_lab, disk, controller, device)) = limited_disk() else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    let copies = format!("{COPYING_TOOL}\necho $$ >\"$HERE/pids\"");
    let mut command = place.compare_once(&[place.tool("copies", &copies)]);
    // 32 MiB would take longer than the next start waits.
    let running = Running::start(command.arg("--disk-limit-above=1M"));
    wait_for_hanging_tool(&place, &running);
    let pid = running.pid();
    running.signal(Signal::SIGKILL);
    let said = place.restart_messages();
    running.finish();
    assert!(said.contains(&controller.undone(&device)), "{said}");
    assert!(!controller.holds(&device), "{said}");
    place.assert_nothing_left(pid, &said);
}

#[test]
fn a_limit_that_cannot_be_is_refused_in_words() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let memory = shm_dir();
    let place = CompareFixture::with_copy_dir(memory.path());
    let tools = [place.tool("cp", COPYING_TOOL)];
    let output = place.run(place.compare_once(&tools).arg("--disk-limit-above=20M"));
    assert_exit(&output, FORKLAT_FAILED);
    assert_says(&output, "no block device below");
    assert_says(&output, "its file system is tmpfs");
    let Some((_lab, disk, controller, device)) = limited_disk_of(lab) else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    for rate in ["0", "1", "1023K"] {
        let mut command = place.compare_once(&[place.tool("cp", COPYING_TOOL)]);
        let output = place.run(command.args(["--disk-limit-above", rate]));
        assert_exit(&output, FORKLAT_FAILED);
        assert_says(&output, "too low: at least 1.00 MiB/s are needed");
        assert!(!controller.holds(&device));
    }
}

// ---------------------------------------------------------------- memory
//
// The tests beside this one need memory, too, so the balloon is small, and SIZE near what is available. That it lets go
// under half of SIZE cannot be shown so; the balloon's own tests do, with a /proc of their own.

/// What the balloon takes.
const BALLOON_BYTES: u64 = 1 << 30;

/// What the other tests may take or give back meanwhile.
const MEMORY_NOISE_BYTES: u64 = BALLOON_BYTES / 4;

/// Bytes of MemAvailable.
pub(super) fn available() -> u64 {
    meminfo(&fs::read_to_string("/proc/meminfo").expect("read meminfo"))
}

fn meminfo(text: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes
        .and_then(|k| k.parse().ok())
        .expect("MemAvailable");
    kilobytes * KIB
}

/// Takes the turn; `None` after saying why, where there is not enough memory to play with.
fn squeeze_lab_or_skip() -> Option<Lab> {
    let lab = Lab::acquire_or_skip(&NO_TOOLS)?;
    if available() < 3 * BALLOON_BYTES {
        return skip("there is too little memory to fill some of it");
    }
    Some(lab)
}

/// The balloon among the children of a forklat, and the bytes that it holds.
fn balloon(forklat: Pid) -> Option<(Pid, u64)> {
    let read = |pid: Pid, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let is_balloon = |pid: &Pid| read(*pid, "comm").is_ok_and(|name| name.trim() == "balloon");
    let pid = children(forklat).into_iter().find(is_balloon)?;
    let status = read(pid, "status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((pid, kilobytes * KIB))
}

#[test]
fn memory_is_filled_for_the_run_and_let_go() {
    let Some(_lab) = squeeze_lab_or_skip() else {
        return;
    };
    retry_until_met("as much available as was asked for", || {
        let place = CompareFixture::new();
        let look = "cat /proc/meminfo >\"$HERE/seen\"";
        let tool = place.tool("looks", &format!("{look}\n{COPYING_TOOL}"));
        let size = available() - BALLOON_BYTES;
        let output = place.run(place.compare_once(&[tool]).arg(format!("--squeeze={size}")));
        // Others may have taken more than the balloon was to have.
        if output.status.code() == FORKLAT_FAILED && available() < size {
            return false;
        }
        assert_exit(&output, 0);
        expect_soon("the memory is free again", || {
            available() > size + BALLOON_BYTES - MEMORY_NOISE_BYTES
        });
        meminfo(&place.text("seen")).abs_diff(size) < MEMORY_NOISE_BYTES
    });
}

#[test]
fn a_signal_lets_the_memory_go() {
    let Some(_lab) = squeeze_lab_or_skip() else {
        return;
    };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (place, running, balloon) = start_squeezed();
        running.signal(signal);
        expect_soon("the balloon is gone", || is_gone(balloon));
        let pid = running.pid();
        let output = running.finish();
        assert_eq!(output.status.signal(), Some(signal as i32));
        if signal == Signal::SIGKILL {
            // Of the directories: the balloon needs no record.
            place.restart_messages();
        }
        place.assert_nothing_left(pid, &describe_output(&output));
    }
}

/// As the OOM killer would.
#[test]
fn a_balloon_that_is_killed_fails_the_comparison() {
    let Some(_lab) = squeeze_lab_or_skip() else {
        return;
    };
    let (place, running, balloon) = start_squeezed();
    kill(balloon, Signal::SIGKILL).expect("kill the balloon");
    let output = place.finish(running);
    assert_exit(&output, FORKLAT_FAILED);
    assert_says(&output, "balloon: was killed by signal 9");
    assert_eq!(lossy_string(&output.stdout), "");
}

/// A forklat whose tool hangs while the balloon holds what it was told to.
fn start_squeezed() -> (CompareFixture, Running, Pid) {
    let mut met = None;
    retry_until_met("a balloon that holds a part of the memory", || {
        let place = CompareFixture::new();
        let mut command = place.compare_once(&[place.tool("hangs", HANGING_TOOL)]);
        let size = available() - BALLOON_BYTES;
        let mut running = Running::start(command.arg(format!("--squeeze={size}")));
        expect_soon("the tool runs or it is refused", || {
            place.path("pids").exists() || running.has_ended()
        });
        match balloon(running.pid()) {
            Some((pid, held)) if held > BALLOON_BYTES / 2 => met = Some((place, running, pid)),
            _ => {
                if !running.has_ended() {
                    running.signal(Signal::SIGTERM);
                }
                place.finish(running);
            }
        }
        met.is_some()
    });
    met.expect("it was met")
}

#[test]
fn a_squeeze_that_cannot_be_lived_with_is_refused() {
    let Some(_lab) = squeeze_lab_or_skip() else {
        return;
    };
    let place = CompareFixture::new();
    for (size, said) in [
        ("100T", "are available now"),
        ("0", "needs at least"),
        ("1M", "needs at least"),
        ("64M", "twice its high watermarks"),
    ] {
        let tool = place.tool("tells", &format!("touch \"$HERE/ran\"\n{COPYING_TOOL}"));
        let output = place.run(place.compare_once(&[tool]).args(["--squeeze", size]));
        assert_exit_in(&output, FORKLAT_FAILED, size);
        assert_says(&output, "cannot squeeze this host to");
        assert_says(&output, said);
        assert!(!place.path("ran").exists(), "{size}");
    }
}

// ---------------------------------------------------------------- file systems that fail it

#[test]
fn a_full_disk_ends_the_measurement_in_words() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 32) else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    // Full from the start, and full after some answers.
    for room in [0, 256 * KIB] {
        let filler = fill_up(&disk, room);
        for probe in ["write", "fsync", "read", "exec"] {
            if room > 0 && probe == "exec" {
                // Its copy is smaller than that, and it writes no more.
                continue;
            }
            let mut command = place.forklat();
            command
                .args(["run", "--baseline=0", "--settle=0", "--for=1h", "--probe"])
                .args([probe, "--period", &format!("{probe}=1ms"), "--on"])
                .arg(&disk.dir);
            let output = place.run(&mut command);
            let context = format!("{probe}, {room} bytes free: {}", describe_output(&output));
            assert_eq!(output.status.code(), FORKLAT_FAILED, "{context}");
            assert_says(&output, "No space left on device");
            assert_says(&output, disk.dir.to_str().expect("UTF-8"));
            assert_eq!(lossy_string(&output.stdout), "", "{context}");
        }
        fs::remove_file(filler).expect("remove the filler");
    }
    assert_only_lost_and_found(&disk);
}

#[test]
fn a_noexec_mount_is_noted_and_exec_measured() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 64) else {
        return;
    };
    disk.remount("noexec").expect("remount noexec");
    let place = CompareFixture::with_copy_dir(&disk.dir);
    let report = probed(&place, &["exec", "write"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("is mounted noexec: exec runs"), "{notes}");
    assert_only_lost_and_found(&disk);
}

#[test]
fn a_read_only_mount_is_refused_in_words() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 64) else {
        return;
    };
    disk.make_read_only().expect("remount read-only");
    let place = CompareFixture::with_copy_dir(&disk.dir);
    for probe in ["fork", "write", "read", "exec"] {
        let mut command = place.forklat();
        command.args(["compare", "--size=1M", "--runs=1", "--probe", probe, "--on"]);
        let output = place.run(command.arg(&disk.dir));
        assert_exit_in(&output, FORKLAT_FAILED, probe);
        assert_says(&output, "Read-only file system");
        assert_says(&output, disk.dir.to_str().expect("UTF-8"));
    }
}

#[test]
fn without_nameless_files_nothing_is_left_either() {
    let Some(lab) = Lab::acquire_or_skip(&[&TOOLS[..], &["bindfs"]].concat()) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Fuse, 128) else {
        return;
    };
    let place = CompareFixture::with_copy_dir(&disk.dir);
    probed(&place, &["exec", "write", "fsync", "read"]);
    // What was open when it was unlinked goes when the daemon has heard of its end.
    expect_soon("nothing is left", || is_empty(&disk));
    let output = place.run(&mut place.compare_once(&[place.tool("cp", COPYING_TOOL)]));
    assert_exit(&output, 0);
    expect_soon("nothing is left", || is_empty(&disk));
}

/// Runs these probes there for a moment; the report, in which each has answered.
fn probed(place: &CompareFixture, probes: &[&str]) -> Value {
    let mut command = place.forklat();
    command
        .args(["run", "--baseline=0", "--settle=0", "--for=500ms"])
        .args(["--probe", &probes.join(","), "--on"])
        .arg(&place.copy_dir);
    let (output, report) = place.report(&mut command);
    assert_exit(&output, 0);
    let during = subject(&report, "during");
    for probe in probes {
        let all = during["probes"].as_array().expect("probes");
        let found = all.iter().find(|found| found["name"] == *probe);
        let count = found.and_then(|found| found["latency"]["count"].as_u64());
        assert!(count.is_some_and(|count| count > 0), "{probe}: {all:#?}");
    }
    report
}

fn is_empty(disk: &Mount) -> bool {
    names(&disk.dir)
        .iter()
        .all(|path| path.ends_with("lost+found"))
}

fn assert_only_lost_and_found(disk: &Mount) {
    assert!(is_empty(disk), "{:?}", names(&disk.dir));
}

pub(super) fn assert_says(output: &Output, words: &str) {
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains(words), "'{words}' is not in: {stderr}");
}
