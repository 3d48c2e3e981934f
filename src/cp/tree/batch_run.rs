//! Copies the files of a batch in one thread, and has several small files written by one call.

use super::CopyRun;
use super::copy_task::CopyTask;
use crate::cp::copy_file::{self, BatchOutcome, BatchedCopy, FileCopier, FileCopyError};
use crate::cp::entry_error::EntryError;
use crate::report::OrderedOutput;

/// The batch of one thread while it is copied.
pub(super) struct BatchRun<'r, 'a> {
    run: &'r CopyRun<'a>,
    voice: &'r mut OrderedOutput,
    copier: &'r mut FileCopier,
    /// The files that are read and not yet written, in their order.
    held: Vec<(CopyTask, BatchedCopy)>,
}

impl<'r, 'a> BatchRun<'r, 'a> {
    pub(super) fn new(
        run: &'r CopyRun<'a>,
        voice: &'r mut OrderedOutput,
        copier: &'r mut FileCopier,
    ) -> Self {
        Self {
            run,
            voice,
            copier,
            held: Vec::new(),
        }
    }

    /// Copies all files, and reports each in the order of the walk.
    pub(super) fn copy_all(mut self, tasks: Vec<CopyTask>) {
        for task in tasks {
            if !copy_file::may_batch(self.run.options, &task.request()) {
                self.write_held();
                task.run(self.run, self.voice, self.copier);
                continue;
            }
            match self.batch(&task) {
                Ok(BatchOutcome::Batched(held)) => self.held.push((task, held)),
                Ok(BatchOutcome::Alone(held)) => {
                    self.write_held();
                    self.finish(task, held, false);
                }
                Err(failed) => {
                    self.write_held();
                    task.conclude(Err(failed), self.run, self.voice);
                }
            }
            if self.copier.is_batch_full() {
                self.write_held();
            }
        }
        self.write_held();
    }

    fn batch(&mut self, task: &CopyTask) -> Result<BatchOutcome, FileCopyError> {
        if self.voice.is_interrupted() {
            return Err(EntryError::Reported.into());
        }
        copy_file::batch(&self.run.cx, self.voice, self.copier, &task.request())
    }

    /// Writes the files that are held, and ends their copies.
    fn write_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let is_written = self.copier.write_batch();
        for ((task, mut held), is_written) in
            std::mem::take(&mut self.held).into_iter().zip(is_written)
        {
            if !is_written {
                held.refresh_status();
            }
            self.finish(task, held, is_written);
        }
    }

    fn finish(&mut self, task: CopyTask, held: BatchedCopy, is_written: bool) {
        let request = task.request();
        let cx = &self.run.cx;
        let copied =
            copy_file::finish_batched(cx, self.voice, self.copier, &request, (held, is_written));
        task.conclude(copied, self.run, self.voice);
    }
}
