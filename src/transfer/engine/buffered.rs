//! The engine `buffered`: it reads and writes through the page cache, and flushes and drops the written pages.

use super::{Buffer, EngineSpec};
use crate::transfer::dest_writer::WriteMode;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "buffered",
    description: "reads and writes through the page cache, and then drops the cached pages",
    applies_to: "always",
    write_mode: WriteMode::Cached,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: Buffer::boxed,
};
