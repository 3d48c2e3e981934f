//! `buffered`: read and written through the page cache, which is written out and dropped behind.

use super::{Buffer, Row};
use crate::transfer::sink::Leaving;

pub(super) static ROW: Row = Row {
    name: "buffered",
    how: "read and written through the page cache, dropped behind",
    when: "always there",
    leaving: Leaving::Cached,
    chunk: 1 << 20,
    fits: |_, _| Ok(()),
    make: Buffer::boxed,
};
