//! Decides which offsets and lengths a direct write to a destination may have. No other module computes alignment.

use crate::sys::file::DioAlign;

/// The smallest unit of direct writes, and the alignment that is assumed if none is known: 4096 bytes is the block of
/// the file systems measured and the largest sector sold. A padded tail of less (512 on ext4) is legal, but a write of
/// part of a file system block makes ext4 serialise it and zero the rest.
const UNIT: u64 = 4096;

/// The alignment of direct writes to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Align {
    /// Alignment of memory addresses that the kernel requires, in bytes.
    pub mem: u64,
    /// Alignment of offset and length that the kernel requires, in bytes.
    pub offset: u64,
}

impl Align {
    /// Returns the alignment that statx(2) reported, or a page and 4096 bytes if it reported none.
    #[must_use]
    pub fn from_statx(answer: DioAlign) -> Self {
        match answer {
            DioAlign::Bytes { mem, offset } => Self {
                mem: mem.into(),
                offset: offset.into(),
            },
            DioAlign::Unknown | DioAlign::Unsupported => Self {
                mem: UNIT,
                offset: UNIT,
            },
        }
    }

    /// Returns the unit of this program's writes, a multiple of the alignment that the kernel requires.
    #[must_use]
    pub fn unit(self) -> u64 {
        UNIT.next_multiple_of(self.offset)
    }

    /// Returns `offset` rounded down to the unit.
    #[must_use]
    pub fn down(self, offset: u64) -> u64 {
        offset - offset % self.unit()
    }

    /// Returns `offset` rounded up to the unit.
    #[must_use]
    pub fn up(self, offset: u64) -> u64 {
        offset.next_multiple_of(self.unit())
    }
}

impl Default for Align {
    fn default() -> Self {
        Self::from_statx(DioAlign::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_never_below_what_the_kernel_demands() {
        for offset in [512, 4096, 16384] {
            let align = Align::from_statx(DioAlign::Bytes { mem: 512, offset });
            assert_eq!(align.unit() % u64::from(offset), 0);
            assert_eq!(align.down(align.unit() + 1), align.unit());
            assert_eq!(align.up(align.unit() + 1), 2 * align.unit());
            assert_eq!(align.up(align.unit()), align.unit());
        }
    }
}
