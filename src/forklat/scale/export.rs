//! The files that `forklat scale` exports to, opened before anything is measured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::record::Scale;
use super::render;
use super::stop::{Stop, cannot};
use crate::forklat::cli::scale::ScaleWords;
use crate::report::quote::quote;

type Render = fn(&Scale) -> io::Result<String>;

/// One of them.
#[derive(Debug)]
struct Target<'a> {
    path: &'a Path,
    /// `None` where it is not there yet.
    file: Option<File>,
    render: Render,
}

/// All of them.
#[derive(Debug)]
pub struct Exports<'a>(Vec<Target<'a>>);

impl<'a> Exports<'a> {
    /// Opens what the words ask for. Nothing is changed: a run that fails leaves what was there.
    ///
    /// # Errors
    /// The file that cannot be written to.
    pub fn open(words: &'a ScaleWords) -> Result<Self, Stop> {
        let json: Render = |scale| Ok(serde_json::to_string_pretty(scale)? + "\n");
        let asked = [
            (&words.export_json, json),
            (&words.export_csv, |scale| Ok(render::csv(scale))),
            (&words.export_markdown, |scale| Ok(render::markdown(scale))),
        ];
        let asked = asked.into_iter();
        let targets = asked.filter_map(|(path, render)| Some((path.as_deref()?, render)));
        let targets = targets.map(|(path, render)| {
            let file = open(path).map_err(|e| failed(path, &e))?;
            Ok(Target { path, file, render })
        });
        targets.collect::<Result<_, _>>().map(Self)
    }

    /// Writes them.
    ///
    /// # Errors
    /// The file that could not be written.
    pub fn write(self, scale: &Scale) -> Result<(), Stop> {
        for target in self.0 {
            let path = target.path;
            target.write(scale).map_err(|e| failed(path, &e))?;
        }
        Ok(())
    }
}

impl Target<'_> {
    fn write(self, scale: &Scale) -> io::Result<()> {
        let text = (self.render)(scale)?;
        let mut file = match self.file {
            Some(file) => file,
            None => File::create(self.path)?,
        };
        // A terminal or a pipe has no length to cut.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        file.write_all(text.as_bytes())
    }
}

/// Opens a file for writing. One that is not there is made and removed again, which tells whether it can be made.
fn open(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            File::create_new(path)?;
            fs::remove_file(path)?;
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    cannot(&format!("write to {}", quote(path)), error)
}
