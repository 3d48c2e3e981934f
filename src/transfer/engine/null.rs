//! The engine `null`: it moves nothing and reports that it did, to measure the cost of the copy loop in benches and
//! tests.

use super::{Endpoints, Engine, EngineSpec};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::errno_class::EngineError;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "null",
    description: "moves nothing",
    applies_to: "never chosen by the program",
    write_mode: WriteMode::Cached,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: |_, _, _| Ok(Box::new(Null)),
};

struct Null;

impl Engine for Null {
    fn transfer(
        &mut self,
        _: u64,
        len: usize,
        _: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        Ok(len)
    }
}
