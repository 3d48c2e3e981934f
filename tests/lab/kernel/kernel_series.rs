//! The kernels of the laboratory: which series of Debian's, where it is published, and what it can do.

/// A series of kernels, of which the newest is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    /// As in the names of packages: `6.1`.
    pub(crate) name: &'static str,
    /// Where it is published.
    pub(crate) suite: Suite,
    /// statx(2) tells the alignment of O_DIRECT (STATX_DIOALIGN, Linux 6.1).
    pub(crate) tells_alignment: bool,
    /// ext4 and xfs take RWF_DONTCACHE. The flag exists since Linux 6.14, was disabled in 6.15 (478ad02d6844), and works on
    /// xfs since 6.16 and on ext4 since about 6.17.
    pub(crate) drops_behind: bool,
}

/// A part of Debian's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Of the archive of security updates.
    Security(&'static str),
    /// Of the archive itself.
    Main(&'static str),
}

/// Those that the matrix runs on, the oldest first.
pub(crate) const ALL_SERIES: [Series; 5] = [
    Series {
        name: "5.10",
        suite: Suite::Security("bullseye-security"),
        tells_alignment: false,
        drops_behind: false,
    },
    Series {
        name: "6.1",
        suite: Suite::Main("bookworm"),
        tells_alignment: true,
        drops_behind: false,
    },
    Series {
        name: "6.12",
        suite: Suite::Main("trixie"),
        tells_alignment: true,
        drops_behind: false,
    },
    Series {
        name: "6.18",
        suite: Suite::Main("trixie-backports"),
        tells_alignment: true,
        drops_behind: true,
    },
    Series {
        name: "7.2",
        suite: Suite::Main("trixie-backports"),
        tells_alignment: true,
        drops_behind: true,
    },
];

/// The series of this name.
///
/// # Errors
/// There is none; the names that there are.
pub(crate) fn find_series(name: &str) -> anyhow::Result<&'static Series> {
    ALL_SERIES
        .iter()
        .find(|series| series.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = ALL_SERIES.iter().map(|series| series.name).collect();
            anyhow::anyhow!("no kernel {name:?} in the catalogue: {}", names.join(", "))
        })
}
