//! How the bytes of a destination were read back.

/// How the bytes of a destination were read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    /// All of them with O_DIRECT, from the device.
    Direct,
    /// Some or all of them through the page cache, for this reason.
    Cached(String),
}

impl ReadBack {
    /// Returns the word of `--json`: `direct` or `cached`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Cached(_) => "cached",
        }
    }

    /// Returns why the page cache was used, where it was.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Direct => None,
            Self::Cached(why) => Some(why),
        }
    }
}
