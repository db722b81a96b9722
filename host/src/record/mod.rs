//! Records: what every call left behind. Who called what on whose behalf, what was decided, how long
//! it took, how much went in and out, and what it cost.
//!
//! Records are kept in memory for the newest runs and appended to segment files by one writer thread.
//! They tell what happened; they are not what a run is resumed from.

mod entry;
mod index;
mod segment;
mod writer;

use std::path::Path;
use std::sync::Arc;

use ringfence_api::TenantName;

pub use entry::{CallRecord, Decision, LogLine, Outcome, RoutedFrom, RunSummary};
pub use index::{MEMORY_RECORDS, MEMORY_RUNS};
pub use segment::{SEGMENT_BYTES, SEGMENTS};

use self::index::Index;
use self::writer::Writer;
use crate::mediation::RunId;

/// Why records cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder or a segment in it cannot be used.
    #[error("the records in {path} cannot be used")]
    Io {
        /// Folder or file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The records of a host.
pub struct Records {
    index: Arc<Index>,
    writer: Writer,
}

impl Records {
    /// Opens the records in `folder`, making it where needed, and reads the newest ones back.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, RecordError> {
        let index = Arc::new(Index::default());
        let writer = Writer::start(folder, index.clone())?;
        Ok(Self { index, writer })
    }

    pub(crate) fn call(&self, record: CallRecord) {
        self.writer.push(entry::Entry::Call(record));
    }

    pub(crate) fn log(&self, line: LogLine) {
        self.writer.push(entry::Entry::Log(line));
    }

    /// The newest runs of a tenant, the newest first.
    pub fn runs(&self, tenant: &TenantName, most: usize) -> Vec<RunSummary> {
        self.writer.settle();
        self.index.runs(tenant, most)
    }

    /// The calls of a run, in the order in which they began; empty when it is not known (any more).
    pub fn calls(&self, tenant: &TenantName, run: RunId) -> Vec<Arc<CallRecord>> {
        self.writer.settle();
        self.index.calls(tenant, run)
    }

    /// What the guests of a run wrote to their logs.
    pub fn logs(&self, tenant: &TenantName, run: RunId) -> Vec<Arc<LogLine>> {
        self.writer.settle();
        self.index.logs(tenant, run)
    }

    /// Records that were dropped because the disk could not keep up.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Writes everything out. To be called before the process ends.
    pub fn flush(&self) {
        self.writer.flush();
    }
}
