//! The description of an export format: one row, which the file of that format declares.

use crate::forklat::error::ForklatError;
use crate::forklat::model::Report;

/// An export format. Its option on the command line is `--export-NAME`.
#[derive(Debug)]
pub struct Format {
    /// The name in the option.
    pub name: &'static str,
    /// The help of the option of `run`, `compare` and `merge`.
    pub help: &'static str,
    /// The help of the option of `scale`, or `None` if a report of `scale` has nothing for this format.
    pub scale_help: Option<&'static str>,
    /// Renders a report. The second argument is the interval log of the measurement, if one was requested.
    ///
    /// # Errors
    /// A report that cannot be written in this format, such as one with a damaged histogram.
    pub render: fn(&Report, Option<&str>) -> Result<String, ForklatError>,
}
