//! One directory under way: open on both sides, completed by the last of those that work in it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::stat::FileStat;

use super::Run;
use crate::cp::operands::join;
use crate::cp::place::{Anchor, Folder};
use crate::report::Voice;

/// One directory under way.
pub(super) struct Level {
    source: Anchor,
    /// The source, open; none where it could not be opened.
    listing: Option<Arc<Folder>>,
    dest: Arc<Folder>,
    shown: PathBuf,
    from: FileStat,
    /// The mode that it was made with.
    made: Option<u32>,
    above: Option<Arc<Level>>,
    /// Those that still work in it: the walk, files on their way, directories in it.
    busy: AtomicUsize,
    /// Who speaks of its completion.
    voice: Mutex<Option<Voice>>,
}

/// What the walk knows of a directory that it enters.
pub(super) struct Entered {
    pub(super) source: Anchor,
    pub(super) listing: Option<File>,
    pub(super) dest: File,
    pub(super) shown: PathBuf,
    pub(super) from: FileStat,
    pub(super) made: Option<u32>,
    pub(super) above: Option<Arc<Level>>,
}

impl Level {
    /// Begins; the caller works in it until it calls [`Self::leave`].
    pub(super) fn new(entered: Entered) -> Arc<Self> {
        if let Some(above) = &entered.above {
            above.join();
        }
        Arc::new(Self {
            source: entered.source,
            listing: entered.listing.map(|file| Arc::new(Folder::Open(file))),
            dest: Arc::new(Folder::Open(entered.dest)),
            shown: entered.shown,
            from: entered.from,
            made: entered.made,
            above: entered.above,
            busy: AtomicUsize::new(1),
            voice: Mutex::new(None),
        })
    }

    /// The source, open.
    pub(super) fn listing(&self) -> Option<&File> {
        self.listing.as_deref().and_then(file)
    }

    /// The device that the source is on.
    pub(super) fn device(&self) -> u64 {
        self.from.st_dev
    }

    /// Whether this run made it.
    pub(super) fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Whether this run made it, or one above it.
    pub(super) fn is_within_new(&self) -> bool {
        let mut level = Some(self);
        while let Some(this) = level {
            if this.is_new() {
                return true;
            }
            level = this.above.as_deref();
        }
        false
    }

    /// A name in it, on both sides.
    pub(super) fn child(&self, name: &OsStr) -> Option<(Anchor, Anchor)> {
        let side = |folder: &Arc<Folder>, shown: &Path| Anchor {
            folder: Arc::clone(folder),
            base: name.to_owned(),
            shown: join(shown, name),
        };
        let source = side(self.listing.as_ref()?, &self.source.shown);
        Some((source, side(&self.dest, &self.shown)))
    }

    /// One more works in it.
    pub(super) fn join(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// The walk leaves it, and `voice` has the last word.
    pub(super) fn close(level: Arc<Self>, voice: Voice, run: &Run<'_>) {
        *level.voice.lock().unwrap_or_else(PoisonError::into_inner) = Some(voice);
        Self::leave(level, run);
    }

    /// One fewer works in it. The last completes it, and so is out of the one above.
    pub(super) fn leave(level: Arc<Self>, run: &Run<'_>) {
        let mut level = level;
        while level.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            level.complete(run);
            let Some(above) = level.above.clone() else {
                return;
            };
            level = above;
        }
    }

    fn complete(&self, run: &Run<'_>) {
        let mut voice = self
            .voice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut say = |text: &str| {
            if let Some(voice) = &mut voice {
                voice.diagnose(text);
            }
        };
        let Some(dest) = file(&self.dest) else {
            return;
        };
        let source = (&self.source.place(), self.listing());
        let (made, shown) = (self.made, &*self.shown);
        let attributes = run.attributes();
        let finished = attributes.finish_directory(source, &self.from, dest, made, shown, &mut say);
        if finished.is_err() {
            run.fail();
        }
        run.cx.durable.note_directory(dest, &self.shown);
    }
}

fn file(folder: &Folder) -> Option<&File> {
    match folder {
        Folder::Open(file) => Some(file),
        Folder::Current => None,
    }
}
