//! What /proc says of other processes.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// No wait here needs a hundredth of it.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for what others do by themselves.
pub(crate) fn wait_until(what: &str, mut met: impl FnMut() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < CONDITION_TIMEOUT, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether it runs; a zombie waits only for init, which need not hurry.
pub(crate) fn is_process_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Zombies, too.
pub(crate) fn process_exists(pid: Pid) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap()
}

/// The children of a process, with their names.
pub(crate) fn children(parent: Pid) -> Vec<(Pid, String)> {
    let child = |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let its = rest.split(' ').nth(1)?.parse().ok()?;
        (Pid::from_raw(its) == parent).then(|| (pid, name.to_owned()))
    };
    pids().filter_map(child).collect()
}

/// The child of that name.
pub(crate) fn child(parent: Pid, name: &str) -> Option<Pid> {
    let mut all = children(parent).into_iter();
    all.find(|(_, its)| its == name).map(|(pid, _)| pid)
}

/// Processes that have `mark` in their environment; a zombie has none.
pub(crate) fn marked(mark: &str) -> Vec<Pid> {
    let has = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut words = environment.split(|byte| *byte == 0);
        words.any(|word| word == mark.as_bytes())
    };
    pids().filter(has).collect()
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}
