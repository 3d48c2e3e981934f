//! `null`: moves nothing and says that it did. It prices the loop around the other engines, for benches and tests.

use super::{Engine, Pair, Row};
use crate::transfer::fault::Fault;
use crate::transfer::sink::Leaving;

pub(super) static ROW: Row = Row {
    name: "null",
    how: "moves nothing",
    when: "never taken by the program",
    leaving: Leaving::Cached,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: |_, _, _| Ok(Box::new(Null)),
};

struct Null;

impl Engine for Null {
    fn transfer(&mut self, _: u64, len: usize, _: &mut Pair<'_>) -> Result<usize, Fault> {
        Ok(len)
    }
}
