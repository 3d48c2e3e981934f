//! The figures of the progress of a file or of a run, from which each form of progress is made.

use std::time::Duration;

use super::counters::{RunProgress, bytes_per_second};
use crate::transfer::Progress;

/// How far a file or a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProgressFigures {
    /// Bytes that are done so far.
    pub(super) done: u64,
    /// Bytes that there are in all; `None` until they are known.
    pub(super) total: Option<u64>,
    /// Files that are done, of a run that has several.
    pub(super) files: Option<u64>,
    /// Files in all; `None` until they are known.
    pub(super) total_files: Option<u64>,
    /// Rate of the copy in bytes per second.
    pub(super) rate: f64,
    /// Time since the copy was started.
    pub(super) elapsed: Duration,
}

impl ProgressFigures {
    /// Returns the figures of one file.
    pub(super) fn of_file(progress: &Progress) -> Self {
        Self {
            done: progress.copied,
            total: progress.size.filter(|size| *size > 0),
            files: None,
            total_files: None,
            rate: bytes_per_second(progress.copied, progress.phase_elapsed()),
            elapsed: progress.phase_elapsed(),
        }
    }

    /// Returns the figures of a run. Files are counted only if it has several.
    pub(super) fn of_run(so_far: &RunProgress, has_multiple_files: bool) -> Self {
        let files = has_multiple_files.then_some(so_far.files);
        Self {
            done: so_far.bytes,
            total: so_far.total.map(|total| total.bytes),
            files,
            total_files: files.and(so_far.total.map(|total| total.files)),
            rate: so_far.rate,
            elapsed: so_far.elapsed,
        }
    }

    /// Returns how many of a hundred parts are done, in bytes, or in files where there are only empty ones. It is 100
    /// only when all is done.
    pub(super) fn percent(&self) -> Option<u64> {
        let (done, total) = match (self.total?, self.files, self.total_files) {
            (0, Some(files), Some(total)) => (files, total),
            (total, _, _) => (self.done, total),
        };
        if done >= total {
            return Some(100);
        }
        u64::try_from(u128::from(done) * 100 / u128::from(total)).ok()
    }

    /// Returns how long the rest takes at this rate; `None` while no estimate is possible.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.done);
        (self.rate > 0.0).then(|| Duration::from_secs((left as f64 / self.rate) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_and_time_left_follow_from_the_bytes() {
        let at = |done, total| ProgressFigures {
            done,
            total,
            files: Some(3),
            total_files: Some(4),
            rate: 10.0,
            elapsed: Duration::from_secs(9),
        };
        let left = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(at(999, Some(1000)).percent(), Some(99));
        assert_eq!(at(u64::MAX, Some(u64::MAX)).percent(), Some(100));
        assert_eq!(at(0, Some(0)).percent(), Some(75), "of four empty files");
        assert_eq!(
            (at(5, None).percent(), at(5, None).time_left()),
            (None, None)
        );
        assert_eq!(at(400, Some(1000)).time_left(), left(60));
        assert_eq!(
            at(1001, Some(1000)).time_left(),
            left(0),
            "a file that grew"
        );
        let stopped = ProgressFigures {
            rate: 0.0,
            ..at(1, Some(2))
        };
        assert_eq!(stopped.time_left(), None);
    }
}
