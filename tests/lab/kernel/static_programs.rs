//! The project's own programs as the guests need them: static, with nothing of this system's libraries.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::tool_command;

/// The one target that the kernels of the catalogue run.
const TARGET_TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Optimised as a release is, but for what takes the linker a minute: the guests are emulated, and feel the first only.
const FAST_LINK_OPTIONS: [&str; 4] = [
    "--config=profile.release.lto=false",
    "--config=profile.release.codegen-units=16",
    "--config=profile.release.incremental=true",
    "--config=profile.release.strip=true",
];

/// The directory with `mmapcp` and `forklat`, built if they are not as new as the source. `mmapcp_lab` compiles the switches
/// that break a promise on purpose.
///
/// # Errors
/// cargo's.
pub(crate) fn build(target_dir: &Path) -> Result<PathBuf> {
    let target_dir = target_dir.join("static");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--target",
            TARGET_TRIPLE,
        ])
        .args(FAST_LINK_OPTIONS)
        .arg("--target-dir")
        .arg(&target_dir)
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static --cfg mmapcp_lab",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    tool_command::stdout_of(&mut cargo)?;
    Ok(target_dir.join(TARGET_TRIPLE).join("release"))
}
