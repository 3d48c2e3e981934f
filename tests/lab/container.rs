//! As the first process of a container: process 1 of a PID namespace, which no signal with a default action reaches.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::{Lab, home};
use crate::support::{MMAPCP, wait_until};

/// The process that `unshare` has forked.
fn child_of(parent: u32) -> Option<i32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(children).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Starts a program as process 1, sends it the signals one after the other, and returns the exit status.
fn status_after(words: &[&str], signal: Signal, ready: impl Fn(i32) -> bool) -> Option<i32> {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .args(words);
    let mut parent = command.stderr(Stdio::null()).spawn().expect("unshare");
    let mut init = None;
    wait_until("process 1 waits", || {
        init = child_of(parent.id());
        init.is_some_and(&ready)
    });
    kill(Pid::from_raw(init.expect("process 1")), signal).expect("kill");
    parent.wait().expect("unshare ends").code()
}

#[test]
fn process_1_ends_by_a_signal_with_the_status_that_a_shell_would_tell() {
    let Some(_lab) = Lab::enter(&["unshare"]) else {
        return;
    };
    let home = home().expect("a directory");
    let path = |name: &str| {
        home.path()
            .join(name)
            .into_os_string()
            .into_string()
            .expect("UTF-8")
    };
    mkfifo(path("fifo").as_str(), Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let sleeps = |pid: i32| {
        let text = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        text("comm").is_ok_and(|name| name == "mmapcp\n" || name == "forklat\n")
            && text("stat").is_ok_and(|stat| stat.contains(") S "))
            // SIGTERM is caught once its handler is there.
            && text("status").is_ok_and(|status| catches_sigterm(&status))
    };
    let forklat = env!("CARGO_BIN_EXE_forklat");
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let copy = [MMAPCP, &path("fifo"), &path("dest")];
        assert_eq!(
            status_after(&copy, signal, sleeps),
            Some(status),
            "mmapcp, {signal}"
        );
        let measure = [forklat, "run", "--probe=fork", "--for=60s"];
        assert_eq!(
            status_after(&measure, signal, sleeps),
            Some(status),
            "forklat, {signal}"
        );
    }
}

fn catches_sigterm(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
}
