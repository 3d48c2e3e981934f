//! Tools of the system: run to their end, or a reason.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a tool wrote to standard output.
///
/// # Errors
/// It cannot be started, or fails: with what it complained about.
pub(crate) fn stdout_bytes_of(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, complaint.trim());
    }
    Ok(output.stdout)
}

/// As text.
///
/// # Errors
/// Those of [`bytes_of`].
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    stdout_bytes_of(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The search path with the directories of mkfs and mount, which a service's or user's path often lacks.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}
