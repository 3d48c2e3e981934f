//! The limits of the room that files may take, as the user gives them.

/// Free space that a file system is to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeepFree {
    /// So many bytes of it.
    Bytes(u64),
    /// So many percent of its size, above 0 and at most 100.
    Percent(f64),
}

impl KeepFree {
    /// Returns the bytes that a file system of `total` bytes is to keep free.
    #[must_use]
    pub fn bytes_of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total as f64 * (percent / 100.0)).ceil() as u64,
        }
    }
}

/// The room that files may take: `--keep-free`, `--max-size` and `--cut`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RoomLimits {
    /// What is to stay free on the file system of the destination.
    pub keep_free: Option<KeepFree>,
    /// Most bytes of data that a file may have.
    pub max_size: Option<u64>,
    /// Whether the beginning of a file that does not fit is wanted, so that its copy begins in any case.
    pub cut: bool,
}

impl RoomLimits {
    /// Returns whether the room of a file is limited by more than its file system.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.keep_free.is_some() || self.max_size.is_some()
    }

    /// Returns whether so many bytes of data are more than a file may have.
    #[must_use]
    pub fn is_too_large(&self, data: u64) -> bool {
        self.max_size.is_some_and(|max| data > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_whole_file_system() {
        assert_eq!(KeepFree::Bytes(7).bytes_of(1000), 7);
        assert_eq!(KeepFree::Percent(15.0).bytes_of(1000), 150);
        assert_eq!(KeepFree::Percent(0.1).bytes_of(999), 1);
        assert_eq!(KeepFree::Percent(100.0).bytes_of(1 << 40), 1 << 40);
    }
}
