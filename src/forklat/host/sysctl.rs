//! `--sysctl NAME=VALUE`: a kernel setting for the time of a run.

use std::path::{Path, PathBuf};

use super::files::write;
use super::record::Record;
use super::undo::{Entry, verify};
use crate::observe::root::{below, read};
use crate::report::quote::quote;

/// Two names of one setting each: writing the one makes the other 0 (Documentation/admin-guide/sysctl/vm.rst).
const PAIRS: [[&str; 2]; 2] = [
    ["vm/dirty_ratio", "vm/dirty_bytes"],
    ["vm/dirty_background_ratio", "vm/dirty_background_bytes"],
];

/// A setting and the value it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The path below /proc/sys.
    name: String,
    value: String,
}

impl Setting {
    /// Reads `vm.dirty_ratio=80`. As with sysctl(8), the first dot or slash of a name says what separates its parts; where
    /// that is a dot, a slash stands for a dot (`net.ipv4.conf.eth0/1.forwarding`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("{} is not NAME=VALUE", quote(text)));
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
            return Err(format!("{} is not the name of a sysctl", quote(name)));
        }
        if value.is_empty() {
            return Err(format!("{} has no value", quote(text)));
        }
        Ok(Self {
            name: path,
            value: value.to_owned(),
        })
    }

    /// Gives the setting its value, after the record knows the old one.
    ///
    /// # Errors
    /// No such setting, no permission, or a value that the kernel does not take as it is. Nothing is changed then.
    pub fn apply(&self, root: &Path, record: &mut Record) -> Result<(), String> {
        let file = path(root, &self.name);
        let old = read(&file)?;
        let entry = self.before(root, &file, old);
        record.add(entry.clone())?;
        if let Err(e) = write(&file, &self.value) {
            record.remove(&entry)?;
            return Err(e);
        }
        verify(&file, &self.value).map_err(|e| match record.undo(&entry) {
            Ok(()) => e,
            Err(more) => format!("{e}; {more}"),
        })
    }

    /// What to write back: of a pair, the one that is not 0.
    fn before(&self, root: &Path, file: &Path, old: String) -> Entry {
        let pair = PAIRS.iter().find(|pair| pair.contains(&self.name.as_str()));
        let other = pair.and_then(|pair| pair.iter().find(|name| **name != self.name));
        if let Some(other) = other.map(|name| path(root, name)).filter(|_| old == "0")
            && let Ok(value) = read(&other)
            && value != "0"
        {
            return Entry::Sysctl {
                file: other,
                old: value,
            };
        }
        Entry::Sysctl {
            file: file.to_owned(),
            old,
        }
    }
}

fn path(root: &Path, name: &str) -> PathBuf {
    below(root, "/proc/sys").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(settings: &[(&str, &str)]) -> (tempfile::TempDir, Record) {
        let dir = tempfile::tempdir().unwrap();
        let all = settings.iter().chain(&[("kernel/random/boot_id", "b")]);
        for (name, value) in all {
            let path = path(dir.path(), name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{value}\n")).unwrap();
        }
        let record = Record::open_in(dir.path(), dir.path()).unwrap();
        (dir, record)
    }

    fn value(root: &Path, name: &str) -> String {
        read(&path(root, name)).unwrap()
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

    #[test]
    fn of_a_pair_the_one_that_counts_is_written_back() {
        let (dir, mut record) = root(&[
            ("vm/dirty_ratio", "0"),
            ("vm/dirty_bytes", "1000"),
            ("vm/dirty_background_ratio", "10"),
            ("vm/dirty_background_bytes", "0"),
        ]);
        for (text, zeroed) in [
            ("vm.dirty_ratio=80", "vm/dirty_bytes"),
            ("vm.dirty_background_bytes=5", "vm/dirty_background_ratio"),
        ] {
            Setting::parse(text)
                .unwrap()
                .apply(dir.path(), &mut record)
                .unwrap();
            // What the kernel does.
            std::fs::write(path(dir.path(), zeroed), "0\n").unwrap();
        }
        assert!(record.undo_all().is_empty());
        assert_eq!(value(dir.path(), "vm/dirty_bytes"), "1000");
        assert_eq!(value(dir.path(), "vm/dirty_background_ratio"), "10");
    }

    #[test]
    fn an_unknown_setting_is_named_and_leaves_nothing() {
        let (dir, mut record) = root(&[]);
        let error = Setting::parse("vm.none=1")
            .unwrap()
            .apply(dir.path(), &mut record);
        assert!(error.unwrap_err().contains("vm/none': No such file"));
        assert!(record.undo_all().is_empty());
    }
}
