//! Memory of the idle processes: how much one takes, and whether many more of them would endanger the machine.

use crate::forklat::error::ForklatError;
use crate::report::units::format_bytes;

/// Smallest number of processes from which the memory of one is estimated. With fewer, the estimate would be wrong,
/// since MemAvailable moves by some hundred KiB by itself.
const MIN_PROCESSES_FOR_ESTIMATE: u64 = 10;

/// The memory that the idle processes may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// MemAvailable in bytes before the first process was started.
    pub before: u64,
    /// Bytes that one process takes at least.
    pub each: u64,
}

impl Budget {
    /// Refuses to go from `standing` processes to `next` if that would take more than half of the `available` bytes.
    pub(super) fn allow(
        self,
        available: u64,
        standing: u64,
        next: u64,
    ) -> Result<(), ForklatError> {
        let seen = match standing >= MIN_PROCESSES_FOR_ESTIMATE {
            true => self.before.saturating_sub(available) / standing,
            false => 0,
        };
        let each = seen.max(self.each);
        let more = next.saturating_sub(standing);
        let wanted = each.saturating_mul(more);
        if wanted <= available / 2 {
            return Ok(());
        }
        Err(format!(
            "{more} more processes would take {} ({} each), which is more than half of the {} that are available",
            format_bytes(wanted),
            format_bytes(each),
            format_bytes(available)
        ).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_ten_took_tells_what_the_next_take() {
        let budget = Budget {
            before: 10 * GIB,
            each: 1 << 16,
        };
        assert_eq!(budget.allow(9 * GIB, 1, 10), Ok(()));
        assert_eq!(budget.allow(9 * GIB, 100, 500), Ok(()));
        let refused = budget.allow(9 * GIB, 100, 1000).unwrap_err().to_string();
        assert_eq!(
            refused,
            "900 more processes would take 9.00 GiB (10.24 MiB each), which is more than half of the 9.00 GiB that are available"
        );
    }

    #[test]
    fn what_each_writes_to_is_known_before() {
        let budget = Budget {
            before: 10 * GIB,
            each: GIB,
        };
        assert_eq!(budget.allow(10 * GIB, 0, 5), Ok(()));
        assert!(budget.allow(10 * GIB, 0, 6).is_err());
        assert!(budget.allow(11 * GIB, 10, 100).is_err());
        assert!(budget.allow(u64::MAX, 0, u64::MAX).is_err());
    }
}
