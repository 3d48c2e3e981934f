//! The table of engines in their order of preference, and those that the copy loop needs by name.

use super::{
    EngineSpec, buffered, copy_file_range, direct, dontcache, mmap, null, reflink, sendfile, splice,
};

/// All engines, in order of preference.
pub static ENGINES: [&EngineSpec; 8] = [
    &reflink::SPEC,
    &mmap::SPEC,
    &splice::SPEC,
    &direct::SPEC,
    &dontcache::SPEC,
    &copy_file_range::SPEC,
    &sendfile::SPEC,
    &buffered::SPEC,
];

/// The engine that moves nothing, to measure the cost of the copy loop. It cannot be chosen on the command line.
pub static NULL: &EngineSpec = &null::SPEC;

/// The engine that shares blocks.
pub(in crate::transfer) static REFLINK: &EngineSpec = &reflink::SPEC;

/// The engine whose bytes `--debug` calls offloaded, as cp does.
pub(in crate::transfer) static COPY_FILE_RANGE: &EngineSpec = &copy_file_range::SPEC;

/// The engine that reads into a buffer and writes with O_DIRECT.
pub(in crate::transfer) static DIRECT: &EngineSpec = &direct::SPEC;

/// The engine that moves pages, also those of a source that is a pipe.
pub(in crate::transfer) static SPLICE: &EngineSpec = &splice::SPEC;

/// The engine that small files use first; the other is `buffered`.
pub(in crate::transfer) static DONTCACHE: &EngineSpec = &dontcache::SPEC;
pub(in crate::transfer) static BUFFERED: &EngineSpec = &buffered::SPEC;

/// Returns the engine with that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static EngineSpec> {
    ENGINES.iter().copied().find(|row| row.name == name)
}
