//! The names of the kernel's functions, from /proc/kallsyms.

use std::path::Path;

use crate::observe::kernel_file::path_below;

/// Prefixes of the functions that serve a system call, which its name follows. The kernel leaves some of them out of a
/// call chain where one ends with a call of the next.
const SYSCALL_PREFIXES: [&str; 9] = [
    "__x64_sys_",
    "__ia32_sys_",
    "__arm64_sys_",
    "__riscv_sys_",
    "__se_sys_",
    "__do_sys_",
    "ksys_",
    "do_sys_",
    "vfs_",
];

/// Functions that serve a system call of another name.
const OTHER_NAMES: [(&str, &str); 8] = [
    ("kernel_clone", "clone"),
    ("kernel_wait4", "wait4"),
    ("do_exit", "exit"),
    ("do_group_exit", "exit"),
    ("do_fsync", "fsync"),
    ("do_fdatasync", "fdatasync"),
    ("do_execveat_common", "execve"),
    ("vm_mmap_pgoff", "mmap"),
];

/// Functions that call the one that serves a system call.
const SYSCALL_ENTRIES: [&str; 5] = [
    "do_syscall_64",
    "x64_sys_call",
    "invoke_syscall",
    "el0_svc_common",
    "do_trap_ecall_u",
];

/// The functions of the kernel, in the order of their addresses. It is empty if the kernel does not tell.
#[derive(Debug, Default)]
pub struct KernelSymbols {
    /// The address of each function, and where its name begins in `names`.
    starts: Vec<(u64, u32)>,
    /// The names, each followed by a line feed.
    names: String,
}

impl KernelSymbols {
    /// Reads the functions from /proc/kallsyms below `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let text = std::fs::read_to_string(path_below(root, "/proc/kallsyms"));
        Self::parse(&text.unwrap_or_default())
    }

    /// Reads lines such as `ffffffff81000000 T _text`. Addresses are zero for those who may not know them.
    pub(super) fn parse(text: &str) -> Self {
        let mut symbols = Self::default();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let address = u64::from_str_radix(address, 16).unwrap_or(0);
            if address != 0 && matches!(kind, "t" | "T" | "w" | "W") {
                symbols.starts.push((address, symbols.names.len() as u32));
                symbols.names.push_str(name);
                symbols.names.push('\n');
            }
        }
        symbols.starts.sort_by_key(|(address, _)| *address);
        symbols
    }

    /// Returns whether no function is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Returns the name of the function that has an address, without the suffixes of the compiler.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<&str> {
        let next = self.starts.partition_point(|(start, _)| *start <= address);
        let (_, place) = self.starts.get(next.checked_sub(1)?)?;
        let name = self.names.get(*place as usize..)?.lines().next()?;
        name.split('.').next()
    }

    /// Returns the names of a call chain, the innermost function first.
    #[must_use]
    pub fn names<'a>(&'a self, stack: &[u64]) -> Vec<&'a str> {
        let names = stack.iter().filter_map(|address| self.name(*address));
        names.collect()
    }
}

/// Returns what a process asked the kernel for, from the names of a call chain: a system call, or a page fault. It is
/// `None` if the chain shows neither.
#[must_use]
pub fn request_of(stack: &[&str]) -> Option<String> {
    let after_entry = stack
        .iter()
        .position(|name| SYSCALL_ENTRIES.contains(name))
        .and_then(|entry| entry.checked_sub(1));
    let by_entry = after_entry.and_then(|place| syscall_name(stack[place]));
    by_entry
        .or_else(|| stack.iter().rev().find_map(|name| known_syscall(name)))
        .or_else(|| {
            let faults = stack.iter().any(|name| name.contains("page_fault"));
            faults.then(|| "a page fault".to_owned())
        })
}

/// Returns the system call that a function serves, whatever it is called: `do_x` and `x` serve `x`.
fn syscall_name(function: &str) -> Option<String> {
    if function.starts_with("exit_to_user") || function.starts_with("syscall_") {
        // The call is over, or has not begun.
        return None;
    }
    known_syscall(function).or_else(|| {
        let bare = function.trim_start_matches('_').trim_start_matches("do_");
        (!bare.is_empty()).then(|| bare.to_owned())
    })
}

fn known_syscall(function: &str) -> Option<String> {
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == function);
    if let Some((_, call)) = other {
        return Some((*call).to_owned());
    }
    let mut prefixes = SYSCALL_PREFIXES.iter();
    prefixes.find_map(|prefix| function.strip_prefix(prefix).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let symbols = KernelSymbols::parse(
            "ffff20 T second.isra.0\nffff10 t first\nffff18 d data\n0 T hidden\nffff30 T third\t[module]\n",
        );
        assert_eq!(symbols.name(0xffff0f), None);
        assert_eq!(symbols.name(0xffff10), Some("first"));
        assert_eq!(symbols.name(0xffff1f), Some("first"));
        assert_eq!(symbols.names(&[0xffff25, 0xffff99]), ["second", "third"]);
        assert!(!symbols.is_empty());
        assert!(KernelSymbols::parse("0 T a\n0 T b\n").is_empty());
    }

    #[test]
    fn a_request_is_named_by_what_serves_it() {
        for (stack, want) in [
            (
                &["shmem_file_llseek", "ksys_lseek", "do_syscall_64"][..],
                Some("lseek"),
            ),
            (
                &[
                    "jbd2_log_wait_commit",
                    "do_fsync",
                    "__x64_sys_fdatasync",
                    "do_syscall_64",
                ],
                Some("fdatasync"),
            ),
            (
                &["copy_process", "kernel_clone", "x64_sys_call"],
                Some("clone"),
            ),
            (
                &["vfs_write", "ksys_pwrite64", "invoke_syscall"],
                Some("pwrite64"),
            ),
            (&["handle_mm_fault", "exc_page_fault"], Some("a page fault")),
            (
                &["schedule", "exit_to_user_mode_loop", "do_syscall_64"],
                None,
            ),
            (&["worker_thread", "kthread", "ret_from_fork"], None),
            (&[], None),
        ] {
            assert_eq!(request_of(stack).as_deref(), want, "{stack:?}");
        }
    }
}
