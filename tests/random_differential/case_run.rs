//! Where the trees stand, and one run of a program in one of them.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::case_scenario::Scenario;
use super::tree_entry;
use crate::cp_differential::tree_snapshot;
use crate::cp_differential::version_changes::ProgramOutcome;
use crate::cp_differential::{ComparisonOptions, Oracle, normalize_program_name, oracles};
use crate::lab::newest_cp;
use crate::support::*;

/// Directories above the tree: no chain of `..` that a case can make climbs out of them.
const NESTED_TREE_PATH: &str = "1/2/3/4/5/6/7/8/9/tree";

/// The status of a program that did not end.
const STILL_RUNNING: &str = "still running";

/// No case has more names than this unless its tree was copied into itself again and again.
const MAX_ENTRIES: usize = 3000;

/// A place for one tree at a time: both programs find theirs under the same absolute name.
pub(super) struct CaseDir {
    dir: tempfile::TempDir,
    /// Where a program lies that nobody may run.
    bin: (tempfile::TempDir, PathBuf),
}

/// What one program did.
#[derive(Clone)]
pub(super) struct CaseRun {
    pub(super) answer: ProgramOutcome,
    /// Whether anything but times is other than before.
    pub(super) changed: bool,
}

impl std::ops::Deref for CaseRun {
    type Target = ProgramOutcome;

    fn deref(&self) -> &ProgramOutcome {
        &self.answer
    }
}

impl CaseRun {
    /// Whether it went round in circles, as `cp -RL` does in a tree whose links lead out of it and in again: what it has
    /// done by then is nothing to compare.
    pub(super) fn is_endless(&self) -> bool {
        self.status == STILL_RUNNING
            || self.tree.len() > MAX_ENTRIES
            || self.stderr.contains("File name too long")
    }
}

impl CaseDir {
    pub(super) fn new() -> CaseDir {
        let bin = public_bin_dir();
        if oracles().contains(&Oracle::Newest) {
            newest_cp::copy_to(&bin.1);
        }
        CaseDir {
            dir: shm_dir(),
            bin,
        }
    }

    /// Builds the scene anew and runs `program` in it, for no longer than `patience`.
    pub(super) fn run(&self, scene: &Scenario, program: &str, patience: Duration) -> CaseRun {
        let root = self.dir.path().join("1");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        let here = self.dir.path().join(NESTED_TREE_PATH);
        fs::create_dir_all(&here).unwrap();
        for dir in [&here, here.parent().unwrap()] {
            fs::set_permissions(dir, Permissions::from_mode(0o777)).unwrap();
        }
        tree_entry::build(&scene.things, &here);
        let then = tree_snapshot::snapshot_before(&root);
        let (status, stdout, stderr) = self.execute(scene, program, &here, patience);
        let tree = tree_snapshot::snapshot_after(&root, &then);
        CaseRun {
            changed: tree_snapshot::has_changed(&tree, &then),
            answer: ProgramOutcome {
                status,
                stdout: normalize_program_name(&stdout, ComparisonOptions::PLAIN),
                stderr: normalize_program_name(&stderr, ComparisonOptions::PLAIN),
                tree,
            },
        }
    }

    /// Status and both streams of the scene's command.
    fn execute(
        &self,
        scene: &Scenario,
        program: &str,
        here: &Path,
        patience: Duration,
    ) -> (String, Vec<u8>, Vec<u8>) {
        // The umask belongs to the whole process, which has other tests to run.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "umask \"$0\"; exec \"$@\""])
            .arg(format!("{:04o}", scene.umask))
            .arg(program)
            .args(
                scene
                    .words
                    .iter()
                    .map(|word| tree_entry::placed(word, here)),
            )
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.1.display()))
            .envs(scene.environment.iter().copied())
            .current_dir(here);
        if scene.nobody {
            as_nobody(&mut command);
        }
        let (stdin, mut answers) = pipe().unwrap();
        answers.write_all(scene.answers.as_bytes()).unwrap();
        drop(answers);
        let (mut stdout, mut stderr) = (unnamed(), unnamed());
        command
            .stdin(stdin)
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap());
        let status = wait(command.spawn().unwrap(), patience)
            .map_or_else(|| STILL_RUNNING.into(), |status| status.to_string());
        (status, contents(&mut stdout), contents(&mut stderr))
    }
}

/// A file without a name, in memory: unlike a pipe it needs no reader while the program runs.
fn unnamed() -> File {
    tempfile::tempfile_in("/dev/shm").unwrap()
}

fn contents(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Waits for the end; a child that takes too long is killed.
fn wait(mut child: Child, time_limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(100);
    while started.elapsed() < time_limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}
