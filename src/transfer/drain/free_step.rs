//! How much of a source is copied before its memory is given back: less where memory is short.

use crate::sys::key_value::mem_available;

/// Bytes of the smallest step: a point costs an fdatasync(2) and a small file that replaces another, 1 to 20 ms.
const LEAST_STEP: u64 = 8 << 20;

/// The part of the available memory that a step may have.
const SHARE: u64 = 8;

/// Returns how many bytes may be copied before the next ones are freed, `most` at most.
pub(in crate::transfer) fn free_step(most: u64) -> u64 {
    let text = std::fs::read("/proc/meminfo").unwrap_or_default();
    step_of(&text, most)
}

fn step_of(meminfo: &[u8], most: u64) -> u64 {
    let text = String::from_utf8_lossy(meminfo);
    // Without the figure memory may be short.
    mem_available(&text)
        .map_or(LEAST_STEP, |bytes| bytes / SHARE)
        .clamp(LEAST_STEP, most.max(LEAST_STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_part_of_what_is_available() {
        let most = 64 << 20;
        let of = |kib: u64| {
            step_of(
                format!("MemTotal: 9 kB\nMemAvailable:   {kib} kB\n").as_bytes(),
                most,
            )
        };
        assert_eq!(of(24 << 20), most);
        assert_eq!(of(400 << 10), 50 << 20);
        assert_eq!(of(10 << 10), LEAST_STEP);
        assert_eq!(step_of(b"", most), LEAST_STEP);
    }
}
