//! One run of forklat, which is left to restore the host when this bench is asked to stop.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use mmapcp::report::signal_handlers::Signals;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two looks at the child and at our signals.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How it ended.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    pub(crate) status: ExitStatus,
    /// Its standard error, by lines.
    pub(crate) said: Vec<String>,
}

/// Runs the forklat that was built with this bench. Its table is thrown away: the export has the same figures.
pub(crate) fn run(command: &[String], signals: &Signals) -> Result<ChildEnd> {
    let (name, arguments) = command.split_first().context("no command")?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_forklat"))
        .arg0(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A terminal's SIGINT would reach it, and then ours: one is enough.
        .process_group(0)
        .spawn()
        .context("cannot run forklat")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let listener = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.inspect(|line| eprintln!("{line}")).collect()
    });
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some(signal) = signals.pending_signal().filter(|_| !told) {
            // It may have ended meanwhile.
            let _ = kill(
                Pid::from_raw(child.id().cast_signed()),
                Signal::try_from(signal)?,
            );
            told = true;
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    signals.raise_again();
    let said = listener.join().unwrap_or_default();
    Ok(ChildEnd { status, said })
}
