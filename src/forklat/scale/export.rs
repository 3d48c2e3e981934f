//! The files that `forklat scale` exports to, opened before anything is measured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::record::Scale;
use super::render;
use super::stop::{Stop, cannot};
use crate::forklat::cli::scale::ScaleWords;
use crate::report::quote::quote;

type Render = fn(&Scale) -> io::Result<String>;

/// One of them. Where the run fails, a file that was there keeps what it had, and one that was made is removed.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    file: File,
    render: Render,
    made: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Exports(Vec<Target>);

impl Exports {
    /// Opens what the words ask for.
    ///
    /// # Errors
    /// The file that cannot be written to.
    pub fn open(words: &ScaleWords) -> Result<Self, Stop> {
        let json: Render = |scale| Ok(serde_json::to_string_pretty(scale)? + "\n");
        let asked = [
            (&words.export_json, json),
            (&words.export_csv, |scale| Ok(render::csv(scale))),
            (&words.export_markdown, |scale| Ok(render::markdown(scale))),
        ];
        let targets = asked
            .into_iter()
            .filter_map(|(path, render)| Some((path.as_ref()?, render)));
        let targets = targets.map(|(path, render)| Target::open(path, render));
        targets.collect::<Result<_, _>>().map(Self)
    }

    /// Writes them.
    ///
    /// # Errors
    /// The file that could not be written.
    pub fn write(self, scale: &Scale) -> Result<(), Stop> {
        for mut target in self.0 {
            target
                .write(scale)
                .map_err(|e| cannot(&target.what(), &e))?;
        }
        Ok(())
    }
}

impl Target {
    fn open(path: &Path, render: Render) -> Result<Self, Stop> {
        let open = |new: bool| OpenOptions::new().write(true).create_new(new).open(path);
        let (file, made) = match open(false) {
            Ok(file) => (Ok(file), false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => (open(true), true),
            Err(e) => (Err(e), false),
        };
        match file {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
                render,
                made,
            }),
            Err(e) => Err(cannot(&format!("write to {}", quote(path)), &e)),
        }
    }

    fn write(&mut self, scale: &Scale) -> io::Result<()> {
        let text = (self.render)(scale)?;
        // A terminal or a pipe has no length to cut.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())?;
        self.made = false;
        Ok(())
    }

    fn what(&self) -> String {
        format!("write to {}", quote(&self.path))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}
