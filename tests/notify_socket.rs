//! `NOTIFY_SOCKET`: a service manager hears that bytes move, and nothing about the socket can disturb the copy.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::*;

/// Copies a dump of so many MiB with this value of the variable.
fn copy_with(socket: &str, size: u64, options: &[&str]) -> (Output, TempDir, PathBuf) {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, size * MIB);
    let mut command = mmapcp();
    command.env("NOTIFY_SOCKET", socket).args(options);
    let out = run(command.arg(&source).arg(&copy));
    assert!(out.status.success(), "{out:?}");
    assert!(out.stderr.is_empty(), "{out:?}");
    assert!(fs::read(&source).unwrap() == fs::read(&copy).unwrap());
    (out, to, copy)
}

/// Returns the messages that have arrived.
fn messages(socket: &UnixDatagram) -> Vec<String> {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    all
}

/// A copy of 4 s at this rate: a message comes every 3 s.
const SLOW: [&str; 1] = ["--limit-rate=1M"];

fn assert_told(messages: &[String]) {
    assert!(!messages.is_empty());
    for message in messages {
        let (extend, status) = message.split_once('\n').unwrap();
        assert_eq!(extend, "EXTEND_TIMEOUT_USEC=60000000");
        let status = status.strip_prefix("STATUS=").unwrap();
        assert!(
            status.ends_with('\n') && status.contains("MiB"),
            "{message}"
        );
    }
    let last = messages.last().unwrap();
    assert!(last.contains("of 8.00 MiB"), "{last}");
    assert!(last.contains("limited to 1 MiB/s"), "{last}");
}

#[test]
fn a_socket_with_a_path_hears_how_the_copy_gets_on() {
    let dir = disk_dir();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    copy_with(path.to_str().unwrap(), 8, &SLOW);
    assert_told(&messages(&socket));
}

#[test]
fn an_abstract_socket_hears_the_same() {
    let name = format!("mmapcp-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    copy_with(&format!("@{name}"), 8, &SLOW);
    assert_told(&messages(&socket));
}

/// A manager that does not read, or is not there, holds up nobody.
#[test]
fn a_socket_that_is_full_or_missing_or_of_another_kind_is_no_error() {
    let dir = disk_dir();
    let path = dir.path().join("full");
    let full = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(&[0; 1000], &path).is_ok() {}
    let missing = dir.path().join("missing");
    let long = format!("/{}", "x".repeat(200));
    for name in [&path, &missing] {
        copy_with(name.to_str().unwrap(), 8, &SLOW);
    }
    for name in ["relative", "vsock:2:1", &long, ""] {
        copy_with(name, 1, &[]);
    }
    drop(full);
}

/// The probers are processes of their own: none of them has the socket or the variable.
#[test]
fn probers_do_not_inherit_the_socket() {
    let (from, to) = (shm_dir(), disk_dir());
    let path = to.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let source = from.path().join("dump");
    make_dense_dump(&source, 64 * MIB);
    let mut command = mmapcp();
    command.env("NOTIFY_SOCKET", &path);
    command.args(["--limit-rate=4M", "--max-write-latency=1h"]);
    let running = Running::start(command.arg(&source).arg(to.path().join("copy")));
    // The first message comes when bytes move: the socket is open by then.
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.recv(&mut [0; 4096]).unwrap();
    let parent = running.pid().as_raw().cast_unsigned();
    let children = children_of(parent);
    assert!(!children.is_empty());
    assert_eq!(sockets_of(parent), 1);
    for child in children {
        assert_eq!(sockets_of(child), 0);
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.finish();
}

fn children_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = fs::read_to_string(path).unwrap();
    list.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Returns how many descriptors of a process are sockets.
fn sockets_of(process: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}
