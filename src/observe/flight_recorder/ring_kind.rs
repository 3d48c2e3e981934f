//! Names the ring buffers of a CPU by what is recorded in them.

/// A ring buffer, by what is recorded in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RingKind {
    /// The switches of tasks, and their wakings.
    Switches,
    /// Call chains: of tasks that wait, and of what a CPU does.
    Stacks,
    /// All other trace points, which are rare.
    Others,
}
