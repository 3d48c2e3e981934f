//! The facts of a machine that figures mean nothing without.
use serde::{Deserialize, Serialize};
/// x
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {}
