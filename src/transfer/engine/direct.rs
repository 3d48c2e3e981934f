//! The engine `direct`: it reads into an aligned buffer, and writes with O_DIRECT.

use super::{Buffer, EngineSpec};
use crate::transfer::dest_writer::WriteMode;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "direct",
    description: "reads into an aligned buffer, and writes it with O_DIRECT",
    applies_to: "any source",
    write_mode: WriteMode::Direct,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: Buffer::boxed,
};
