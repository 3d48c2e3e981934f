//! The engine `buffered`: it reads and writes through the page cache, and flushes and drops the written pages.

use super::{Buffer, EngineSpec};
use crate::transfer::dest_writer::WriteMode;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "buffered",
    description: "read and written through the page cache, and dropped from it after writing",
    applies_to: "always there",
    write_mode: WriteMode::Cached,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: Buffer::boxed,
};
