//! `dontcache`: read into a buffer, written with RWF_DONTCACHE.

use super::{Buffer, Row};
use crate::transfer::sink::Leaving;

pub(super) static ROW: Row = Row {
    name: "dontcache",
    how: "read into a buffer, written with RWF_DONTCACHE",
    when: "no O_DIRECT at the destination; Linux 6.14 or later",
    leaving: Leaving::DontCache,
    chunk: 1 << 20,
    fits: |_, dest| dest.dontcache.clone(),
    make: Buffer::boxed,
};
