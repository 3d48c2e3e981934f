//! What the machine says of itself: /proc/meminfo, vmstat, PSI and slabinfo, read without fork or exec.

use serde::{Deserialize, Serialize};

/// The facts of a machine that figures mean nothing without.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {}

/// A series of readings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {}
