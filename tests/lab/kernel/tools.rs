//! Tools of the system: run to their end, or a reason.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a tool wrote to standard output.
///
/// # Errors
/// It cannot be started, or fails: with what it complained about.
pub(crate) fn bytes_of(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let output = command
        .env("PATH", path)
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
pub(crate) fn said(command: &mut Command) -> Result<String> {
    bytes_of(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
