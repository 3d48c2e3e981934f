//! The programs under test: those that cargo built, or those in the directory that `MMAPCP_BIN_DIR` names.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::LazyLock;

use nix::unistd::{AccessFlags, access};

/// The variable that names a directory with other builds of both programs, such as static ones.
const BIN_DIR: &str = "MMAPCP_BIN_DIR";

/// The program `mmapcp` under test.
pub(crate) static MMAPCP: TestedProgram = TestedProgram(LazyLock::new(|| {
    find("mmapcp", env!("CARGO_BIN_EXE_mmapcp"))
}));

/// The program `forklat` under test.
pub(crate) static FORKLAT: TestedProgram = TestedProgram(LazyLock::new(|| {
    find("forklat", env!("CARGO_BIN_EXE_forklat"))
}));

/// The path of a program under test.
pub(crate) struct TestedProgram(LazyLock<String>);

impl Deref for TestedProgram {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TestedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Returns the directory that was given, or `None` for the programs that cargo built.
pub(crate) fn bin_dir() -> Option<PathBuf> {
    let dir = std::env::var_os(BIN_DIR)?;
    // Tests change the working directory of the programs that they start.
    Some(std::path::absolute(dir).expect("the working directory is known"))
}

fn find(name: &str, built: &str) -> String {
    let path = bin_dir().map(|dir| dir.join(name));
    path.map_or_else(
        || built.to_owned(),
        |path| {
            path.into_os_string()
                .into_string()
                .expect("a path in UTF-8")
        },
    )
}

/// Checks that the directory that was given has both programs.
///
/// # Errors
/// The program that cannot be run, and why.
pub(crate) fn check() -> Result<(), String> {
    for program in [&MMAPCP, &FORKLAT] {
        access(&**program, AccessFlags::X_OK)
            .map_err(|why| format!("{BIN_DIR}: cannot run {program}: {}", why.desc()))?;
    }
    Ok(())
}

mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::BIN_DIR;
    use crate::support::{describe_output, lossy_string, shm_dir};

    /// Runs one test of this suite with the programs of another directory.
    fn suite_with(bin_dir: &Path) -> Output {
        let mut suite = Command::new(std::env::current_exe().unwrap());
        suite.args(["--exact", "unusual_names::long_names"]);
        suite.env(BIN_DIR, bin_dir).output().unwrap()
    }

    #[test]
    fn a_directory_without_the_programs_is_refused() {
        let dir = shm_dir();
        for name in ["mmapcp", "forklat"] {
            let output = suite_with(dir.path());
            assert_eq!(
                output.status.code(),
                Some(1),
                "{}",
                describe_output(&output)
            );
            let want = format!(
                "MMAPCP_BIN_DIR: cannot run {}: No such file or directory\n",
                dir.path().join(name).display()
            );
            assert_eq!(lossy_string(&output.stderr), want);
            put_program(dir.path(), name, "exit 0");
        }
    }

    /// A program that copies nothing fails a test that a program which is cp passes.
    #[test]
    fn the_programs_of_the_directory_are_those_under_test() {
        let dir = shm_dir();
        put_program(dir.path(), "forklat", "exit 0");
        for (script, passes) in [("exec cp \"$@\"", true), ("exit 0", false)] {
            put_program(dir.path(), "mmapcp", script);
            let output = suite_with(dir.path());
            assert_eq!(
                output.status.success(),
                passes,
                "{}",
                describe_output(&output)
            );
            let named = format!("programs under test: {}\n", dir.path().display());
            assert!(lossy_string(&output.stdout).contains(&named));
        }
    }

    /// A test that ran what cargo built would pass whatever the directory has.
    #[test]
    fn no_test_finds_the_programs_in_another_way() {
        let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
        let mut files = 0;
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|name| name == "rs")
                    && !path.ends_with(file!())
                {
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("CARGO_BIN_EXE"), "{}", path.display());
                    files += 1;
                }
            }
        }
        assert!(files > 50, "{files} files");
    }

    fn put_program(dir: &Path, name: &str, script: &str) {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
