//! /proc/meminfo.

use super::text::{lines, number, words};
use super::{Field, Values};

/// Fills in the fields of `text`, in bytes. What it lacks stays as it is.
pub(super) fn parse(text: &[u8], values: &mut Values) {
    for line in lines(text) {
        let mut words = words(line);
        let field = words.next().and_then(|name| match name {
            b"MemFree:" => Some(Field::MemFree),
            b"MemAvailable:" => Some(Field::MemAvailable),
            b"Cached:" => Some(Field::Cached),
            b"Dirty:" => Some(Field::Dirty),
            b"Writeback:" => Some(Field::Writeback),
            b"Shmem:" => Some(Field::Shmem),
            b"SReclaimable:" => Some(Field::SReclaimable),
            b"SUnreclaim:" => Some(Field::SUnreclaim),
            b"KernelStack:" => Some(Field::KernelStack),
            b"PageTables:" => Some(Field::PageTables),
            _ => None,
        });
        if let (Some(field), Some(kilobytes)) = (field, words.next().and_then(number)) {
            values[field as usize] = kilobytes.checked_mul(1024);
        }
    }
}
