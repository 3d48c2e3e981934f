//! The parts that every chart is made of: colours and marks, axes, and escaped text. A chart is text in SVG.

pub mod grid_line;
pub mod linear_axis;
pub mod log_axis;
pub mod palette;
pub mod text;
