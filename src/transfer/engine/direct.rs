//! `direct`: read into an aligned buffer, written with O_DIRECT.

use super::{Buffer, Row};
use crate::transfer::sink::Leaving;

pub(super) static ROW: Row = Row {
    name: "direct",
    how: "read into an aligned buffer, written with O_DIRECT",
    when: "any source",
    leaving: Leaving::Direct,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: Buffer::boxed,
};
