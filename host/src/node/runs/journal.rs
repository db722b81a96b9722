//! The journal of a host: which runs it has begun. It is written before a run begins, and is on the disk by
//! then, so that a host that starts anew knows what it must not begin again.

use std::collections::HashSet;
use std::path::Path;
use std::thread;

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Notes that are taken in one transaction, and so with one wait for the disk.
const BATCH: usize = 256;
/// Notes that may wait. Who notes more waits.
const BACKLOG: usize = 1_024;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS begun (run TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database refuses.
    #[error("the journal of runs cannot be read or written")]
    Database(#[from] rusqlite::Error),
    /// Its thread cannot be started.
    #[error("the journal of runs cannot be kept")]
    Thread(#[from] std::io::Error),
}

enum Note {
    Begin(String, oneshot::Sender<bool>),
    Forget(String),
}

/// A journal that is open. It is written to by a thread of its own, which ends with this.
#[derive(Debug)]
pub(super) struct Journal {
    id: String,
    before: HashSet<String>,
    notes: mpsc::Sender<Note>,
}

impl Journal {
    /// Opens the journal in a file, making it where needed.
    pub(super) fn open(file: &Path) -> Result<Self, JournalError> {
        let mut database = Connection::open(file)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        // A commit waits until it is on the disk.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.execute_batch(SCHEMA)?;
        let id = identity(&mut database)?;
        let before = database
            .prepare("SELECT run FROM begun")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let (notes, taken) = mpsc::channel(BACKLOG);
        thread::Builder::new()
            .name("run-journal".to_owned())
            .spawn(move || write(&mut database, taken))?;
        Ok(Self { id, before, notes })
    }

    /// Its identity: a new one for each file.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Runs that were begun by an earlier process, and of which it was never told that they are over.
    pub(super) fn before(&self) -> &HashSet<String> {
        &self.before
    }

    /// Notes that a run begins, and waits until that is on the disk. False where it could not be noted: the
    /// run must not begin.
    pub(super) async fn begin(&self, run: &str) -> bool {
        let (noted, done) = oneshot::channel();
        let note = Note::Begin(run.to_owned(), noted);
        self.notes.send(note).await.is_ok() && done.await.unwrap_or(false)
    }

    /// The end of a run is known: it need not be remembered. What is lost of this does no harm.
    pub(super) async fn forget(&self, run: &str) {
        drop(self.notes.send(Note::Forget(run.to_owned())).await);
    }
}

fn identity(database: &mut Connection) -> rusqlite::Result<String> {
    let transaction = database.transaction()?;
    let known = transaction
        .query_row("SELECT id FROM identity", [], |row| row.get(0))
        .optional()?;
    let id = match known {
        Some(id) => id,
        None => {
            let id = Uuid::new_v4().to_string();
            transaction.execute("INSERT INTO identity VALUES (?1)", params![id])?;
            id
        }
    };
    transaction.commit()?;
    Ok(id)
}

/// Takes notes for as long as there can be any.
fn write(database: &mut Connection, mut notes: mpsc::Receiver<Note>) {
    let mut batch = Vec::new();
    while let Some(first) = notes.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(note) = notes.try_recv()
        {
            batch.push(note);
        }
        // What is to be forgotten can wait for company; what begins cannot.
        let urgent = batch.iter().any(|note| matches!(note, Note::Begin(..)));
        if urgent || batch.len() >= BATCH {
            settle(database, &mut batch);
        }
    }
    settle(database, &mut batch);
}

fn settle(database: &mut Connection, batch: &mut Vec<Note>) {
    let done = note(database, batch);
    if let Err(error) = &done {
        tracing::error!(%error, "the journal of runs cannot be written");
    }
    for note in batch.drain(..) {
        if let Note::Begin(_, noted) = note {
            // Who does not wait any more does not begin either.
            let _ = noted.send(done.is_ok());
        }
    }
}

fn note(database: &mut Connection, batch: &[Note]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    {
        let mut begin = transaction.prepare_cached("INSERT OR IGNORE INTO begun VALUES (?1)")?;
        let mut forget = transaction.prepare_cached("DELETE FROM begun WHERE run = ?1")?;
        for note in batch {
            match note {
                Note::Begin(run, _) => begin.execute(params![run])?,
                Note::Forget(run) => forget.execute(params![run])?,
            };
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread writes what it was told when the journal is dropped; until then the file is locked.
    fn reopened(file: &Path, has: &[&str]) -> Journal {
        for _ in 0..1_000 {
            let journal = Journal::open(file).unwrap();
            if journal
                .before()
                .iter()
                .map(String::as_str)
                .collect::<HashSet<_>>()
                == has.iter().copied().collect()
            {
                return journal;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the journal never had {has:?}");
    }

    #[tokio::test]
    async fn what_was_begun_is_known_to_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs.sqlite");
        let journal = Journal::open(&file).unwrap();
        let id = journal.id().to_owned();
        let (a, b) = tokio::join!(journal.begin("a"), journal.begin("b"));
        assert!(a && b);
        // Without any goodbye: the file as a crash leaves it.
        let crashed = Journal::open(&file).unwrap();
        assert_eq!(crashed.before().len(), 2);
        assert_eq!(crashed.id(), id);
        drop(crashed);
        journal.forget("a").await;
        drop(journal);
        let journal = reopened(&file, &["b"]);
        assert_eq!(journal.id(), id);
        let other = Journal::open(&folder.path().join("other.sqlite")).unwrap();
        assert_ne!(other.id(), id);
    }

    #[tokio::test]
    async fn what_cannot_be_noted_does_not_begin() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs.sqlite");
        let journal = Journal::open(&file).unwrap();
        Connection::open(&file)
            .unwrap()
            .execute_batch("DROP TABLE begun")
            .unwrap();
        assert!(!journal.begin("a").await);
    }
}
