//! A rate that a copy is held to.

use std::num::NonZeroU64;
use std::time::Duration;

/// How fast a copy may go. The order is that of speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// Nothing may move at all.
    Stopped,
    /// So many bytes per second.
    Limited(NonZeroU64),
    /// As fast as the files allow.
    Unlimited,
}

impl Rate {
    /// Makes a rate of so many bytes per second, of which 0 is [`Self::Stopped`].
    #[must_use]
    pub const fn from_bytes_per_sec(bytes: u64) -> Self {
        match NonZeroU64::new(bytes) {
            Some(bytes) => Self::Limited(bytes),
            None => Self::Stopped,
        }
    }

    /// Returns the bytes per second, or `None` where they are not limited.
    #[must_use]
    pub const fn bytes_per_sec(self) -> Option<u64> {
        match self {
            Self::Stopped => Some(0),
            Self::Limited(bytes) => Some(bytes.get()),
            Self::Unlimited => None,
        }
    }

    /// Returns the bytes that may move in so long a time.
    #[must_use]
    pub fn bytes_in(self, time: Duration) -> u64 {
        (self.as_f64() * time.as_secs_f64()) as u64
    }

    /// Returns the bytes per second for display and comparison: infinity where they are not limited.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.bytes_per_sec()
            .map_or(f64::INFINITY, |bytes| bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Rate};

    #[test]
    fn rates_are_ordered_by_speed() {
        let rates = [0, 1, u64::MAX].map(Rate::from_bytes_per_sec);
        assert_eq!(rates[0], Rate::Stopped);
        assert!(rates.is_sorted() && rates[2] < Rate::Unlimited);
        assert_eq!(
            rates.map(Rate::bytes_per_sec),
            [Some(0), Some(1), Some(u64::MAX)]
        );
        assert_eq!(Rate::Unlimited.as_f64(), f64::INFINITY);
        let tenth = Duration::from_millis(100);
        assert_eq!(
            [Rate::Stopped, Rate::from_bytes_per_sec(70), Rate::Unlimited]
                .map(|rate| rate.bytes_in(tenth)),
            [0, 7, u64::MAX]
        );
    }
}
