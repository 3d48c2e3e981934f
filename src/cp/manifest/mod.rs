//! `--checksum` and `--manifest`: the lines that sha256sum(1) and b3sum(1) check, and the file that they go to.

mod check_line;
mod line_names;
mod manifest_file;

pub(super) use check_line::check_line;
pub(super) use line_names::LineNames;
pub(super) use manifest_file::ManifestFile;
