//! The thread that writes records, so that no call waits for a disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::RecordError;
use super::entry::Entry;
use super::index::Index;
use super::segment::Segments;

/// Records that may wait for the disk. Further ones are dropped and counted: a slow disk must not
/// take the host's memory.
const QUEUE: usize = 100_000;

/// Time in which records gather after the first one, so that one write takes many and few calls have to
/// wake the thread.
const GATHER: Duration = Duration::from_millis(5);

/// Records for which the list keeps room: a burst must not hold memory for ever.
const KEPT: usize = 4096;

#[derive(Default)]
struct Queue {
    waiting: Vec<Entry>,
    /// Entries that were handed in since the start.
    pushed: u64,
    /// Entries that are in the index and with the operating system.
    settled: u64,
    /// Somebody waits: records do not gather.
    awaited: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    done: Condvar,
    dropped: AtomicU64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(folder: &Path, index: Arc<Index>) -> Result<Self, RecordError> {
        let segments = Segments::open(folder, |entries| index.add(entries))?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("records".to_owned())
                .spawn(move || write(&shared, segments, &index))
                .map_err(|source| RecordError::Io {
                    path: folder.to_owned(),
                    source,
                })?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(super) fn push(&self, entry: Entry) {
        let mut queue = self.shared.queue.lock();
        if queue.waiting.len() >= QUEUE {
            drop(queue);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = queue.waiting.is_empty();
        queue.waiting.push(entry);
        queue.pushed += 1;
        drop(queue);
        // The thread empties the whole queue at once, so only the first entry has to wake it.
        if first {
            self.shared.more.notify_one();
        }
    }

    /// Waits until everything that was pushed before can be read back.
    pub(super) fn settle(&self) {
        let mut queue = self.shared.queue.lock();
        let wanted = queue.pushed;
        if queue.settled < wanted {
            queue.awaited = true;
            self.shared.more.notify_one();
        }
        while queue.settled < wanted && !queue.closed {
            self.shared.done.wait(&mut queue);
        }
    }

    pub(super) fn flush(&self) {
        self.settle();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            drop(thread.join());
        }
    }
}

fn write(shared: &Shared, mut segments: Segments, index: &Index) {
    // The two lists take turns, so that neither grows anew under the lock.
    let mut batch = Vec::new();
    loop {
        {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() {
                if queue.closed {
                    return;
                }
                shared.more.wait(&mut queue);
            }
            let until = Instant::now() + GATHER;
            while !queue.awaited && !queue.closed {
                if shared.more.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
            queue.awaited = false;
            std::mem::swap(&mut queue.waiting, &mut batch);
        }
        let count = batch.len() as u64;
        if let Err(error) = segments.append(&batch) {
            shared.dropped.fetch_add(count, Ordering::Relaxed);
            tracing::error!(error = &error as &dyn std::error::Error, "records are lost");
        }
        index.add(batch.drain(..));
        batch.shrink_to(KEPT);
        shared.queue.lock().settled += count;
        shared.done.notify_all();
    }
}
