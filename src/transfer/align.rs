//! The one owner of alignment: which offsets and lengths a direct write to this destination may have.

use crate::sys::file::DioAlign;

/// The least unit that body writes are made in, and what an unknown alignment is taken for: 4096 bytes is the block of
/// the file systems measured and the largest sector sold. A padded tail of less (512 on ext4) is legal, but a write
/// of part of a file system block makes ext4 serialise it and zero the rest.
const UNIT: u64 = 4096;

/// Alignment of direct writes to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Align {
    /// What the kernel demands of the memory address, in bytes.
    pub mem: u64,
    /// What the kernel demands of offset and length, in bytes.
    pub offset: u64,
}

impl Align {
    /// From what statx said; pages and 4096 where it said nothing.
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

    /// The unit this program writes in: a multiple of what the kernel demands.
    #[must_use]
    pub fn unit(self) -> u64 {
        UNIT.next_multiple_of(self.offset)
    }

    /// `offset` rounded down to the unit.
    #[must_use]
    pub fn down(self, offset: u64) -> u64 {
        offset - offset % self.unit()
    }

    /// `offset` rounded up to the unit.
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
