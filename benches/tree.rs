//! Trees of small files and of mixed sizes, from memory to disk, beside cp and whatever other copiers are in PATH.
//!
//! ```text
//! cargo bench --bench tree                                 # three trees, five rounds; cpz, xcp, rsync where installed
//! cargo bench --bench tree -- --files 5000 --rounds 3 --on /mnt/disk
//! cargo bench --bench tree -- ways                         # what a file costs, by its size and the way it is written
//! ```
//!
//! ext4 looks at recently deleted inodes one by one when it makes new files, for minutes after a big removal: each copy goes
//! to a directory of its own, all of them are removed in the end, and who runs this twice waits in between.

#[path = "tree/sample_tree.rs"]
mod sample_tree;
#[path = "tree/tool_table.rs"]
mod tool_table;
#[path = "tree/tree_run.rs"]
mod tree_run;
#[path = "tree/write_methods.rs"]
mod write_methods;

use std::path::PathBuf;

use anyhow::{Result, bail};

/// What is asked for.
pub(crate) struct Settings {
    /// `tools` or `ways`.
    what: String,
    /// Files of a tree.
    pub(crate) files: usize,
    /// Runs of each tool on each tree.
    pub(crate) rounds: usize,
    /// Where the copies go.
    pub(crate) on: PathBuf,
}

fn main() -> Result<()> {
    // cargo bench says so.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let settings = settings(&words)?;
    std::fs::create_dir_all(&settings.on)?;
    match settings.what.as_str() {
        "tools" => tool_table::table(&settings),
        "ways" => write_methods::table(&settings),
        other => bail!("unknown table {other:?}: tools or ways"),
    }
}

fn settings(words: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        what: "tools".into(),
        files: 20_000,
        rounds: 5,
        on: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench"),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| anyhow::anyhow!("{word} wants a value"))
        };
        match word.as_str() {
            "--files" => settings.files = value()?.parse()?,
            "--rounds" => settings.rounds = value()?.parse()?,
            "--on" => settings.on = value()?.into(),
            what => settings.what = what.into(),
        }
    }
    if settings.rounds == 0 || settings.files < 200 {
        bail!("a number of rounds above 0, and 200 files or more");
    }
    Ok(settings)
}
