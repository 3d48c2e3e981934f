//! The room that files may take: free space that is to be kept (`--keep-free`) and the largest size of a file
//! (`--max-size`).

mod available_space;
pub(super) mod file_room;
pub mod ledger;
pub mod limits;
