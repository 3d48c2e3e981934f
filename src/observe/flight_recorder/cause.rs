//! The causes of late answers, each with a short name for the rows of a table, and how a wait is told by the functions of
//! the kernel in which it happens.

/// Why an answer was late, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Another task had the CPU, while the prober could have run. The name is that of the task.
    CpuTaken(String),
    /// The CPU did not run what it should: it took no timer interrupt, or was idle while a task was ready. Interrupts were
    /// off, or the hypervisor ran something else.
    CpuAbsent,
    /// A signal stopped the prober.
    Stopped,
    /// The prober reclaimed memory for its own allocation.
    DirectReclaim,
    /// The prober moved pages together for its own allocation.
    Compaction,
    /// The prober made pages dirty and was held back (`balance_dirty_pages`).
    DirtyThrottling,
    /// The prober waited for the journal of the file system.
    Journal,
    /// The prober waited until a page was written that it wanted to change.
    Writeback,
    /// The prober waited for room in the queue of the disk, or was held back there by writeback throttling.
    DiskQueue,
    /// The prober waited for the disk.
    Disk,
    /// The prober waited for a lock of the kernel.
    Lock,
    /// The prober waited for its child, of which nothing is known.
    Child,
    /// The operation itself took the time, on the CPU.
    OwnWork,
    /// The prober waited for something that has no name here.
    OtherWait,
    /// The records do not reach back so far.
    NotRecorded,
}

impl Cause {
    /// Returns the name for a row of a table.
    #[must_use]
    pub fn label(&self) -> String {
        let fixed = match self {
            Self::CpuTaken(name) => return format!("CPU taken by {name}"),
            Self::CpuAbsent => "CPU absent",
            Self::Stopped => "stopped",
            Self::DirectReclaim => "direct reclaim",
            Self::Compaction => "compaction",
            Self::DirtyThrottling => "dirty throttling",
            Self::Journal => "journal",
            Self::Writeback => "page under writeback",
            Self::DiskQueue => "disk queue",
            Self::Disk => "disk",
            Self::Lock => "lock",
            Self::Child => "child",
            Self::OwnWork => "own work",
            Self::OtherWait => "other wait",
            Self::NotRecorded => "not recorded",
        };
        fixed.to_owned()
    }
}

/// Parts of the names of functions, with the cause that they show. The first row that fits any function of a call chain
/// is taken.
const WAITS: [(&str, Cause); 33] = [
    ("balance_dirty_pages", Cause::DirtyThrottling),
    ("try_to_free_", Cause::DirectReclaim),
    ("shrink_node", Cause::DirectReclaim),
    ("throttle_direct_reclaim", Cause::DirectReclaim),
    ("reclaim_throttle", Cause::DirectReclaim),
    ("mem_cgroup_handle_over_high", Cause::DirectReclaim),
    ("compact_zone", Cause::Compaction),
    ("jbd2_", Cause::Journal),
    ("start_this_handle", Cause::Journal),
    ("wait_transaction_locked", Cause::Journal),
    ("add_transaction_credits", Cause::Journal),
    ("xlog_", Cause::Journal),
    ("xfs_log_force", Cause::Journal),
    ("btrfs_commit_transaction", Cause::Journal),
    ("btrfs_sync_log", Cause::Journal),
    ("wbt_wait", Cause::DiskQueue),
    ("rq_qos_wait", Cause::DiskQueue),
    ("blk_mq_get_tag", Cause::DiskQueue),
    ("blk_throtl", Cause::DiskQueue),
    ("wait_writeback", Cause::Writeback),
    ("wait_on_page_writeback", Cause::Writeback),
    ("folio_wait_stable", Cause::Writeback),
    ("rwsem_down", Cause::Lock),
    ("mutex_lock", Cause::Lock),
    ("percpu_rwsem_wait", Cause::Lock),
    ("submit_bio_wait", Cause::Disk),
    ("blkdev_issue_flush", Cause::Disk),
    ("_dio_", Cause::Disk),
    ("direct_IO", Cause::Disk),
    ("folio_wait_bit", Cause::Disk),
    ("io_schedule", Cause::Disk),
    ("wait_for_vfork_done", Cause::Child),
    ("do_wait", Cause::Child),
];

/// Returns the cause of a wait from the functions in which it happens, the innermost first, and the function by which it
/// is told.
#[must_use]
pub fn cause_of_wait<'a>(functions: &[&'a str]) -> Option<(Cause, &'a str)> {
    WAITS.iter().find_map(|(part, cause)| {
        let function = functions.iter().find(|name| name.contains(part))?;
        Some((cause.clone(), *function))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_by_its_functions() {
        for (functions, want) in [
            (
                &[
                    "io_schedule_timeout",
                    "balance_dirty_pages_ratelimited_flags",
                ][..],
                Some((
                    Cause::DirtyThrottling,
                    "balance_dirty_pages_ratelimited_flags",
                )),
            ),
            (
                &["schedule", "jbd2_log_wait_commit", "ext4_sync_file"],
                Some((Cause::Journal, "jbd2_log_wait_commit")),
            ),
            (
                &[
                    "io_schedule",
                    "folio_wait_bit_common",
                    "folio_wait_writeback",
                ],
                Some((Cause::Writeback, "folio_wait_writeback")),
            ),
            (
                &["io_schedule", "rq_qos_wait", "wbt_wait", "submit_bio_wait"],
                Some((Cause::DiskQueue, "wbt_wait")),
            ),
            (
                &["io_schedule", "blk_io_schedule", "iomap_dio_rw"],
                Some((Cause::Disk, "iomap_dio_rw")),
            ),
            (
                &[
                    "schedule",
                    "rwsem_down_write_slowpath",
                    "ext4_buffered_write_iter",
                ],
                Some((Cause::Lock, "rwsem_down_write_slowpath")),
            ),
            (&["schedule", "msleep"], None),
        ] {
            assert_eq!(cause_of_wait(functions), want, "{functions:?}");
        }
    }
}
