//! The hosts, the tools, and the command line of forklat for each host.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use mmapcp::transfer::engine::ENGINES;
use serde::Serialize;

use super::StallArgs;

/// Bytes a second, for the estimate: between cp (0.4 GB/s) and splice (2 GB/s) from tmpfs to a virtual disk.
pub(crate) const ESTIMATED_RATE: u64 = 700 << 20;

/// Between two copies forklat waits for a second without writeback; the rest was measured with copies of no size.
const PAUSE_BETWEEN_COPIES: Duration = Duration::from_millis(1300);

/// Taking the memory of a host of 24 GiB, and giving it back.
const SQUEEZE_TIME: Duration = Duration::from_secs(10);

/// The state that a machine is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Host {
    /// As it is.
    Free,
    /// Nearly all of its memory is taken.
    Squeezed,
    /// Its disk is held to a rate.
    Slow,
    /// Both.
    SqueezedSlow,
}

impl Host {
    pub(crate) const ALL: [Self; 4] = [Self::Free, Self::Squeezed, Self::Slow, Self::SqueezedSlow];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Squeezed => "squeezed",
            Self::Slow => "slow",
            Self::SqueezedSlow => "squeezed-slow",
        }
    }

    /// For the head of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Free => "Free host",
            Self::Squeezed => "Squeezed host",
            Self::Slow => "Slow disk",
            Self::SqueezedSlow => "Squeezed host, slow disk",
        }
    }

    fn is_squeezed(self) -> bool {
        matches!(self, Self::Squeezed | Self::SqueezedSlow)
    }

    fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::SqueezedSlow)
    }

    /// The block controller always does, locked memory does on a host with swap.
    pub(crate) fn may_need_root(self) -> bool {
        self != Self::Free
    }

    fn runs(self, words: &StallArgs) -> u32 {
        match (words.runs, words.quick) {
            (None, true) => 1,
            (runs, _) if self.is_slow() => runs.unwrap_or(2),
            (runs, _) => runs.unwrap_or(2) * 2,
        }
    }

    /// How long it will take, roughly.
    pub(crate) fn estimate(self, words: &StallArgs) -> Duration {
        let size = size(words) as f64;
        let rate = if self.is_slow() {
            words.disk_limit.min(ESTIMATED_RATE)
        } else {
            ESTIMATED_RATE
        };
        // Each copy is read back at full speed, to be compared.
        let copy =
            PAUSE_BETWEEN_COPIES.as_secs_f64() + size / rate as f64 + size / ESTIMATED_RATE as f64;
        let copies = f64::from(self.runs(words)) * tools().len() as f64;
        let squeezing = if self.is_squeezed() {
            SQUEEZE_TIME
        } else {
            Duration::ZERO
        };
        idle(words) + squeezing + Duration::from_secs_f64(copies * copy)
    }

    /// The command line, program first.
    pub(crate) fn command(self, words: &StallArgs, json: &Path) -> Vec<String> {
        let mut line: Vec<String> = ["forklat", "compare", "--runs"].map(Into::into).into();
        line.push(self.runs(words).to_string());
        // Ten tools are compared, and a round of them takes long enough.
        line.extend(["--no-repeat".into(), "--warm-up=0".into()]);
        line.extend(["--size".into(), mib(size(words))]);
        line.extend(["--baseline".into(), format!("{}s", idle(words).as_secs())]);
        line.extend(["--on".into(), words.on.display().to_string()]);
        if self.is_squeezed() {
            line.extend(["--squeeze".into(), mib(words.squeeze)]);
        }
        if self.is_slow() {
            line.extend(["--disk-limit-above".into(), mib(words.disk_limit)]);
        }
        for tool in tools() {
            line.extend(["--tool".into(), tool]);
        }
        line.extend(["--export-json".into(), json.display().to_string()]);
        line
    }
}

/// As a person writes it, where that is exact.
fn mib(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{}M", bytes >> 20)
    } else {
        bytes.to_string()
    }
}

fn size(words: &StallArgs) -> u64 {
    words
        .size
        .unwrap_or(if words.quick { 64 } else { 512 } << 20)
}

/// Ten seconds hold a hundred answers of the rarest prober, fsync.
fn idle(words: &StallArgs) -> Duration {
    Duration::from_secs(if words.quick { 1 } else { 10 })
}

/// cp first: the ratios are to it. A name holds no `=`.
fn tools() -> Vec<String> {
    let mut tools = vec![
        "cp=cp {source} {dest}".to_owned(),
        "dd direct=dd if={source} of={dest} bs=8M oflag=direct status=none".to_owned(),
        "mmapcp=mmapcp --progress=never {source} {dest}".to_owned(),
    ];
    // From /dev/shm to a disk, copy-file-range is always EXDEV.
    let engines = ENGINES.iter().map(|row| row.name);
    tools.extend(
        engines
            .filter(|name| *name != "copy-file-range")
            .map(|name| {
                format!("mmapcp {name}=mmapcp --engine={name} --progress=never {{source}} {{dest}}")
            }),
    );
    tools
}
