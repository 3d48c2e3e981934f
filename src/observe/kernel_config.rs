//! Properties of the running kernel that decide how long others wait for a CPU: its model of preemption, its tick, and
//! whether free memory goes back to the hypervisor.

use std::fs;
use std::path::Path;

use super::kernel_file::{path_below, read_optional};

/// The file in which debugfs lists the models of preemption, that in force in parentheses (kernel/sched/debug.c).
const PREEMPT_FILE: &str = "sys/kernel/debug/sched/preempt";

/// Place of VIRTIO_BALLOON_F_REPORTING in the list of features, a digit for each (virtio specification, 5.5.3).
const REPORTING_FEATURE: usize = 5;

/// Returns the model of preemption, in a word if the kernel tells it, or what the version of the kernel says about it.
/// `version` is that of uname(2). Without either it is `unknown`.
#[must_use]
pub fn preemption(root: &Path, version: Option<&str>) -> String {
    if let Some(model) = read_optional(root, PREEMPT_FILE).and_then(|text| parenthesized(&text)) {
        return model;
    }
    let Some(version) = version else {
        return "unknown".into();
    };
    let is = |flag: &str| version.split_whitespace().any(|word| word == flag);
    if is("PREEMPT_RT") {
        return "rt".into();
    }
    if version.contains("PREEMPT_DYNAMIC") {
        let line = read_optional(root, "proc/cmdline").unwrap_or_default();
        let mut words = line.split_whitespace();
        let chosen = words.find_map(|word| word.strip_prefix("preempt="));
        let unknown = || "dynamic, in force unknown".to_owned();
        return chosen.map_or_else(unknown, str::to_owned);
    }
    if is("PREEMPT_LAZY") {
        "lazy".into()
    } else if is("PREEMPT") {
        "full".into()
    } else {
        "none or voluntary".into()
    }
}

fn parenthesized(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('(')?;
    rest.split_once(')').map(|(model, _)| model.to_owned())
}

/// Returns whether a virtio balloon reports free memory to the hypervisor, which takes it back, so that the first use of it
/// is slow. It is `None` if sysfs does not show virtio devices.
#[must_use]
pub fn reports_free_pages(root: &Path) -> Option<bool> {
    let virtio = path_below(root, "sys/bus/virtio");
    let devices = fs::read_dir(virtio.join("drivers/virtio_balloon"));
    let Ok(devices) = devices else {
        return virtio.exists().then_some(false);
    };
    let mut features = devices
        .flatten()
        .filter_map(|device| fs::read_to_string(device.path().join("features")).ok());
    Some(features.any(|bits| bits.as_bytes().get(REPORTING_FEATURE) == Some(&b'1')))
}

/// Returns the mode of the journal of an ext4 file system on `device` (`vda1`): `ordered`, `writeback`, `journal`, or `none`
/// if it has no journal. It is `None` if the kernel does not tell.
#[must_use]
pub fn ext4_journal(root: &Path, device: &str) -> Option<String> {
    let options = read_optional(root, format!("proc/fs/ext4/{device}/options"))?;
    let mode = options.lines().find_map(|line| line.strip_prefix("data="));
    // With a journal the option is always listed there (ext4 shows its defaults in this file).
    Some(mode.unwrap_or("none").to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::kernel_file::root_with as root;
    use super::*;

    #[test]
    fn the_model_of_preemption_is_what_the_kernel_says_or_unknown() {
        let silent = root(&[]);
        let told = root(&[(PREEMPT_FILE, "none voluntary (full) lazy\n")]);
        let chosen = root(&[("proc/cmdline", "quiet preempt=voluntary ro\n")]);
        for (root, version, want) in [
            (&told, Some("#1 SMP PREEMPT_DYNAMIC"), "full"),
            (&chosen, Some("#1 SMP PREEMPT_DYNAMIC"), "voluntary"),
            (
                &silent,
                Some("#1 SMP PREEMPT_DYNAMIC"),
                "dynamic, in force unknown",
            ),
            (&silent, Some("#1 SMP PREEMPT_RT @0"), "rt"),
            (&silent, Some("#1 SMP PREEMPT @0"), "full"),
            (&silent, Some("#1 SMP PREEMPT_LAZY @0"), "lazy"),
            (&silent, Some("#1 SMP @0"), "none or voluntary"),
            (&silent, None, "unknown"),
        ] {
            assert_eq!(preemption(root.path(), version), want, "{version:?}");
        }
    }

    #[test]
    fn free_pages_are_reported_if_the_balloon_has_the_feature() {
        let file = "sys/bus/virtio/drivers/virtio_balloon/virtio0/features";
        let with = |bits| reports_free_pages(root(&[(file, bits)]).path());
        assert_eq!(with("11100100\n"), Some(true));
        assert_eq!(with("11100000\n"), Some(false));
        let other = root(&[("sys/bus/virtio/drivers/virtio_blk/bind", "")]);
        assert_eq!(reports_free_pages(other.path()), Some(false));
        assert_eq!(reports_free_pages(root(&[]).path()), None);
    }

    #[test]
    fn a_journal_has_a_mode() {
        let file = "proc/fs/ext4/vda1/options";
        let of = |text| ext4_journal(root(&[(file, text)]).path(), "vda1");
        assert_eq!(
            of("rw\ndata=ordered\nbarrier\n").as_deref(),
            Some("ordered")
        );
        assert_eq!(of("rw\nbarrier\n").as_deref(), Some("none"));
        assert_eq!(ext4_journal(root(&[]).path(), "vda1"), None);
    }
}
