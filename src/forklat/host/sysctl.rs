//! `--sysctl NAME=VALUE`: changes a kernel setting for the time of a run.

use std::path::{Path, PathBuf};

use super::control_files::verify;
use super::sysctl_change::{SysctlChange, Write, set};
use super::sysctl_snapshot;
use super::undo_entry::UndoEntry;
use super::undo_journal::UndoJournal;
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::{path_below, read_trimmed};
use crate::report::quote::quote;

/// A setting and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The path of the setting below /proc/sys.
    name: String,
    value: String,
}

impl Setting {
    /// Parses a text such as `vm.dirty_ratio=80`. As with sysctl(8), the first dot or slash of a name is its separator;
    /// if that is a dot, a slash in the name means a dot (`net.ipv4.conf.eth0/1.forwarding`).
    ///
    /// # Errors
    /// A description of what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, ForklatError> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("{} is not NAME=VALUE", quote(text)).into());
        };
        let (name, value) = (name.trim(), value.trim());
        let dotted = name
            .find(['.', '/'])
            .is_some_and(|at| name[at..].starts_with('.'));
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        let path: String = if dotted {
            name.chars().map(swap).collect()
        } else {
            name.into()
        };
        let good = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.split('/').all(good) || name.contains("..") || name.contains('\0') {
            return Err(format!("{} is not the name of a sysctl", quote(name)).into());
        }
        if value.is_empty() {
            return Err(format!("{} has no value", quote(text)).into());
        }
        Ok(Self {
            name: path,
            value: value.to_owned(),
        })
    }

    /// Gives the setting its value. Before that, the undo journal gets the old value and those of all settings that the
    /// write may also change.
    ///
    /// # Errors
    /// No such setting, no permission, or a value that the kernel does not accept unchanged. Nothing is changed then.
    pub fn apply(&self, root: &Path, record: &mut UndoJournal) -> Result<(), ForklatError> {
        self.apply_by(&set, root, record)
    }

    fn apply_by(
        &self,
        set: Write<'_>,
        root: &Path,
        record: &mut UndoJournal,
    ) -> Result<(), ForklatError> {
        let file = path(root, &self.name);
        let old = read_trimmed(&file)?;
        let change =
            SysctlChange::before(file.clone(), old, sysctl_snapshot::top(root, &self.name));
        let entry = UndoEntry::Sysctl(change.clone());
        record.add(entry.clone())?;
        let done = set(&file, &self.value)
            .map_err(|e| cannot(format!("write '{}' to", self.value), &file, e))
            .and_then(|()| verify(&file, &self.value))
            // A setting that is unchanged by now is left out: if it changes later, another process did it.
            .and_then(|()| {
                record.replace_entry_or_keep(&entry, &UndoEntry::Sysctl(change.changed()))
            });
        done.map_err(|e| e.after_undoing(record.undo(&entry)))
    }
}

fn path(root: &Path, name: &str) -> PathBuf {
    path_below(root, "/proc/sys").join(name)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn root(settings: &[(&str, &str)]) -> (tempfile::TempDir, UndoJournal) {
        let dir = tempfile::tempdir().unwrap();
        let all = settings.iter().chain(&[("kernel/random/boot_id", "b")]);
        for (name, value) in all {
            let path = path(dir.path(), name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{value}\n")).unwrap();
        }
        let record = UndoJournal::open_in(dir.path(), dir.path()).unwrap();
        (dir, record)
    }

    fn value(root: &Path, name: &str) -> String {
        read_trimmed(&path(root, name)).unwrap()
    }

    #[test]
    fn names_have_dots_or_slashes() {
        for (text, name, value) in [
            ("vm.dirty_ratio=80", "vm/dirty_ratio", "80"),
            ("vm/dirty_ratio = 80", "vm/dirty_ratio", "80"),
            ("net/ipv4/conf/eth0.1/x=1", "net/ipv4/conf/eth0.1/x", "1"),
            ("net.ipv4.conf.eth0/1.x=1", "net/ipv4/conf/eth0.1/x", "1"),
            ("kernel.core_pattern=|a=b", "kernel/core_pattern", "|a=b"),
        ] {
            let want = Setting {
                name: name.into(),
                value: value.into(),
            };
            assert_eq!(Setting::parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in [
            "vm.dirty_ratio",
            "=1",
            "vm.x=",
            "../../etc/passwd=1",
            "vm/../../x=1",
            "/etc/passwd=1",
            "vm..x=1",
            "vm//x=1",
            "vm.x.=1",
            "vm.//.x=1",
            ".=1",
            "vm/./x=1",
        ] {
            assert!(Setting::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn several_are_restored_to_what_they_were() {
        let (dir, mut record) = root(&[("vm/a", "1\t2"), ("vm/b", "5")]);
        for text in ["vm.a=3 4", "vm.b=6", "vm.a=7 8"] {
            Setting::parse(text)
                .unwrap()
                .apply(dir.path(), &mut record)
                .unwrap();
        }
        assert_eq!(value(dir.path(), "vm/a"), "7 8");
        assert!(record.undo_all().is_empty());
        assert_eq!(
            (value(dir.path(), "vm/a"), value(dir.path(), "vm/b")),
            ("1\t2".into(), "5".into())
        );
    }

    /// Pairs of which the kernel sets one to 0 as soon as the other is written. Writing 0 to dirty_bytes is refused.
    const PAIRS: [[&str; 2]; 3] = [
        ["vm/dirty_ratio", "vm/dirty_bytes"],
        ["vm/dirty_background_ratio", "vm/dirty_background_bytes"],
        ["vm/overcommit_ratio", "vm/overcommit_kbytes"],
    ];

    /// Writes a setting and changes related settings as the kernel does.
    fn kernel(file: &Path, value: &str) -> io::Result<()> {
        if file.ends_with("vm/dirty_bytes") && value == "0" {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if file.ends_with("net/ipv4/ip_forward") {
            // This is what inet_forward_change() in net/ipv4/devinet.c does.
            let accept = if value == "0" { "1" } else { "0" };
            let conf = file.with_file_name("conf");
            set(&conf.join("all/accept_redirects"), accept)?;
            for of in ["all", "lo"] {
                set(&conf.join(of).join("forwarding"), value)?;
            }
        }
        for pair in PAIRS
            .iter()
            .filter(|pair| pair.iter().any(|n| file.ends_with(n)))
        {
            let other = pair.iter().find(|name| !file.ends_with(name)).unwrap();
            let sys = file.ancestors().nth(2).unwrap();
            set(&sys.join(other), "0")?;
        }
        set(file, value)
    }

    fn apply_in_kernel(text: &str, root: &Path, record: &mut UndoJournal) {
        let setting = Setting::parse(text).unwrap();
        setting.apply_by(&kernel, root, record).unwrap();
    }

    fn changes(record: &UndoJournal) -> Vec<SysctlChange> {
        let of_sysctl = |entry: &UndoEntry| match entry {
            UndoEntry::Sysctl(change) => change.clone(),
            other => panic!("{other:?}"),
        };
        record.on_disk().iter().map(of_sysctl).collect()
    }

    #[test]
    fn what_a_write_changes_beside_is_known_to_the_record_and_set_back() {
        const HOST: [(&str, &str); 12] = [
            ("vm/dirty_ratio", "20"),
            ("vm/dirty_bytes", "0"),
            ("vm/dirty_background_ratio", "0"),
            ("vm/dirty_background_bytes", "1000"),
            ("vm/overcommit_ratio", "50"),
            ("vm/overcommit_kbytes", "0"),
            ("vm/swappiness", "60"),
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/conf/all/forwarding", "0"),
            ("net/ipv4/conf/all/accept_redirects", "0"),
            ("net/ipv4/conf/lo/forwarding", "0"),
            ("net/ipv4/conf/lo/mtu", "9"),
        ];
        for (text, changed) in [
            ("vm.dirty_bytes=5", vec!["vm/dirty_ratio"]),
            (
                "vm.dirty_background_ratio=5",
                vec!["vm/dirty_background_bytes"],
            ),
            ("vm.overcommit_kbytes=5", vec!["vm/overcommit_ratio"]),
            // accept_redirects changes only when the setting is written back, and must be restored as well.
            (
                "net.ipv4.ip_forward=1",
                vec![
                    "net/ipv4/conf/all/forwarding",
                    "net/ipv4/conf/lo/forwarding",
                ],
            ),
        ] {
            let (dir, mut record) = root(&HOST);
            apply_in_kernel(text, dir.path(), &mut record);
            let change = changes(&record).remove(0);
            let want = changed.iter().map(|name| path(dir.path(), name));
            assert!(change.others.keys().cloned().eq(want), "{text}: {change:?}");
            // Another process changes this setting meanwhile.
            set(&path(dir.path(), "vm/swappiness"), "10").unwrap();
            assert_eq!(change.undo_by(&kernel), Ok(()), "{text}");
            for (name, old) in HOST.iter().filter(|(name, _)| *name != "vm/swappiness") {
                assert_eq!(value(dir.path(), name), *old, "{text}: {name}");
            }
            assert_eq!(value(dir.path(), "vm/swappiness"), "10", "{text}");
        }
    }

    #[test]
    fn killed_between_the_write_and_the_second_record_all_is_set_back() {
        let (dir, mut record) = root(&[
            ("vm/overcommit_ratio", "50"),
            ("vm/overcommit_kbytes", "0"),
            ("vm/swappiness", "60"),
        ]);
        let left = std::cell::RefCell::new(Vec::new());
        let set = |file: &Path, value: &str| {
            left.replace(record_on_disk(dir.path()));
            kernel(file, value)
        };
        let setting = Setting::parse("vm.overcommit_kbytes=5").unwrap();
        setting.apply_by(&set, dir.path(), &mut record).unwrap();
        let [UndoEntry::Sysctl(change)] = &left.take()[..] else {
            panic!("no record of one change before the write");
        };
        assert_eq!(change.others.len(), 2, "{change:?}");
        assert_eq!(change.undo_by(&kernel), Ok(()));
        assert_eq!(value(dir.path(), "vm/overcommit_ratio"), "50");
        assert_eq!(value(dir.path(), "vm/overcommit_kbytes"), "0");
    }

    fn record_on_disk(dir: &Path) -> Vec<UndoEntry> {
        UndoJournal::open_in(dir, dir).unwrap().on_disk()
    }

    #[test]
    fn what_does_not_come_back_is_said() {
        let (dir, mut record) = root(&[("vm/a", "1"), ("vm/b", "2"), ("vm/c", "3")]);
        let both = |file: &Path, value: &str| {
            set(&file.with_file_name("b"), "9")?;
            set(file, value)
        };
        let setting = Setting::parse("vm.a=5").unwrap();
        setting.apply_by(&both, dir.path(), &mut record).unwrap();
        let change = changes(&record).remove(0);
        let stuck = change.undo_by(&|file, value| match file.ends_with("b") {
            true => Ok(()),
            false => set(file, value),
        });
        let stuck = stuck.unwrap_err().to_string();
        assert!(stuck.starts_with("wrote '2' to "), "{stuck}");
        assert!(stuck.ends_with("vm/b', but it now contains '9'"), "{stuck}");
        let refused = change.undo_by(&|_, _| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("cannot write '2' to")
        );
        // A setting beside the sysctl that is gone is no error.
        std::fs::remove_file(path(dir.path(), "vm/b")).unwrap();
        assert_eq!(change.undo(), Ok(()));
    }

    #[test]
    fn an_empty_setting_is_empty_again() {
        let (dir, mut record) = root(&[("net/ipv4/ip_local_reserved_ports", "")]);
        let setting = Setting::parse("net.ipv4.ip_local_reserved_ports=7000").unwrap();
        setting.apply(dir.path(), &mut record).unwrap();
        assert!(record.undo_all().is_empty());
        let file = path(dir.path(), "net/ipv4/ip_local_reserved_ports");
        // The kernel ignores a write of no bytes, so a newline is written.
        assert_eq!(std::fs::read(file).unwrap(), b"\n");
    }

    #[test]
    fn an_unknown_setting_is_named_and_leaves_nothing() {
        let (dir, mut record) = root(&[]);
        let error = Setting::parse("vm.none=1")
            .unwrap()
            .apply(dir.path(), &mut record);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("vm/none': No such file")
        );
        assert!(record.undo_all().is_empty());
    }
}
