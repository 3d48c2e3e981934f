//! The engine `dontcache`: it reads into a buffer, and writes with RWF_DONTCACHE.

use super::{Buffer, EngineSpec};
use crate::transfer::dest_writer::WriteMode;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "dontcache",
    description: "reads into a buffer, and writes it with RWF_DONTCACHE",
    applies_to: "no O_DIRECT at the destination; xfs since Linux 6.16, ext4 since 6.17",
    write_mode: WriteMode::DontCache,
    chunk: 1 << 20,
    fits: |_, dest| dest.dontcache.clone(),
    make: Buffer::boxed,
};
