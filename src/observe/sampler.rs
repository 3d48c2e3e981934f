//! The process that reads what the machine says of itself, ten times a second.
