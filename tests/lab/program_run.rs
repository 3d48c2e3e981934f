//! Runs mmapcp under a watchdog and reads its events.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

use super::newest_cp;
use crate::tested_programs::MMAPCP;

/// No copy of the lab takes a tenth of this; whatever does hangs.
const COPY_TIMEOUT: Duration = Duration::from_secs(60);

/// `auto`, and the rows that can copy from memory to any file system that has O_DIRECT.
pub(super) const PORTABLE_ENGINES: [&str; 6] = [
    "--direct=auto",
    "--engine=mmap",
    "--engine=splice",
    "--engine=direct",
    "--engine=sendfile",
    "--engine=buffered",
];

/// How a run ended.
#[derive(Debug)]
pub(super) struct CopyOutcome {
    /// `None` when a signal ended it, the watchdog's among them.
    pub(super) code: Option<i32>,
    pub(super) events: Vec<Value>,
    pub(super) stderr: String,
}

impl CopyOutcome {
    pub(super) fn event(&self, name: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["event"] == name)
    }

    /// The engine that `done` names.
    pub(super) fn engine(&self) -> &str {
        self.event("done")
            .and_then(|done| done["engine"].as_str())
            .unwrap_or("no done event")
    }

    /// The engines that moved bytes.
    pub(super) fn moving_engines(&self) -> Vec<&str> {
        let engines = self
            .event("done")
            .and_then(|done| done["engines"].as_object());
        let moved = engines
            .into_iter()
            .flatten()
            .filter(|(_, bytes)| bytes.as_u64() != Some(0));
        moved.map(|(name, _)| name.as_str()).collect()
    }
}

/// Runs `mmapcp --json` with these words.
pub(super) fn mmapcp<S: AsRef<OsStr>>(words: &[S]) -> CopyOutcome {
    let output = Command::new(&*MMAPCP)
        .arg("--json")
        .args(words)
        .env("LC_ALL", "C")
        .timeout(COPY_TIMEOUT)
        .output()
        .expect("run mmapcp");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line)));
    CopyOutcome {
        code: output.status.code(),
        events: events.collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the system's cp with the same words and speaks its messages with mmapcp's name.
pub(super) fn cp<S: AsRef<OsStr>>(words: &[S]) -> CopyOutcome {
    run_cp(Path::new("/bin/cp"), words)
}

/// The same with the newest cp, which is there.
pub(super) fn newest_cp<S: AsRef<OsStr>>(words: &[S]) -> CopyOutcome {
    let place = newest_cp::directory().expect("the newest cp");
    run_cp(&place.join(newest_cp::NAME), words)
}

fn run_cp<S: AsRef<OsStr>>(program: &Path, words: &[S]) -> CopyOutcome {
    let output = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .timeout(COPY_TIMEOUT)
        .output()
        .expect("run cp");
    let said = String::from_utf8_lossy(&output.stderr).replace("/bin/cp: ", "cp: ");
    let stderr = said
        .lines()
        .map(|line| line.replacen("cp: ", "mmapcp: ", 1) + "\n")
        .collect();
    CopyOutcome {
        code: output.status.code(),
        events: Vec::new(),
        stderr,
    }
}

/// The words of one copy: options, source, destination.
pub(super) fn copy_arguments(
    options: &[&str],
    source: impl AsRef<OsStr>,
    dest: impl AsRef<OsStr>,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = options.iter().map(OsString::from).collect();
    words.extend([source.as_ref().to_owned(), dest.as_ref().to_owned()]);
    words
}
