//! Sessions: conversations across runs, kept in SQLite.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_api::{Name, TenantName};
use rusqlite::{Connection, params};

use crate::error::CallError;
use crate::message::Message;

/// Messages that a session keeps; the oldest are forgotten.
pub const SESSION_MESSAGES: u32 = 1000;
/// Bytes of one message as it is kept.
pub const SESSION_MESSAGE_BYTES: usize = 1 << 20;
/// Sessions that one agent of a tenant may have; the one that was used longest ago is forgotten.
pub const SESSIONS_PER_AGENT: u32 = 10_000;
/// Bytes of a session's name.
pub const SESSION_NAME_BYTES: usize = 128;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS session_message (
    tenant TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL,
    seq INTEGER NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (tenant, agent, session, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (
    tenant TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, session)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS session_used ON session (tenant, agent, used);
";

/// Names one conversation with one agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The tenant.
    pub tenant: TenantName,
    /// The agent.
    pub agent: Name,
    /// The conversation, as the caller names it.
    pub session: Arc<str>,
}

/// Why sessions cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The database refuses.
    #[error("the sessions cannot be read or written")]
    Database(#[from] rusqlite::Error),
}

/// The sessions of a host.
#[derive(Clone)]
pub struct Sessions {
    database: Arc<Mutex<Connection>>,
}

impl Sessions {
    /// Opens the sessions in a file, making it where needed.
    ///
    /// # Errors
    /// When the file is no database or cannot be used.
    pub fn open(file: &Path) -> Result<Self, SessionError> {
        let database = Connection::open(file)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "NORMAL")?;
        database.execute_batch(SCHEMA)?;
        Ok(Self {
            database: Arc::new(Mutex::new(database)),
        })
    }

    /// The newest messages of a conversation, oldest first.
    ///
    /// # Errors
    /// `failed` when the database refuses.
    pub async fn history(&self, key: SessionKey, most: u32) -> Result<Vec<Message>, CallError> {
        self.with(move |database| history(database, &key, most))
            .await
    }

    /// Adds messages to a conversation.
    ///
    /// # Errors
    /// `limit-exceeded` for a message over [`SESSION_MESSAGE_BYTES`]; `failed` when the database
    /// refuses.
    pub async fn append(&self, key: SessionKey, messages: Vec<Message>) -> Result<(), CallError> {
        check(&messages)?;
        self.with(move |database| append(database, &key, &messages))
            .await
    }

    /// Takes a conversation over from another host. Where there is one of that name already, it stays.
    ///
    /// # Errors
    /// As [`Sessions::append`].
    pub(crate) async fn adopt(
        &self,
        key: SessionKey,
        messages: Vec<Message>,
    ) -> Result<(), CallError> {
        check(&messages)?;
        self.with(move |database| {
            if history(database, &key, 1)?.is_empty() {
                append(database, &key, &messages)?;
            }
            Ok(())
        })
        .await
    }

    /// The conversations that are kept.
    ///
    /// # Errors
    /// `failed` when the database refuses.
    pub(crate) async fn keys(&self) -> Result<Vec<SessionKey>, CallError> {
        self.with(keys).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        let database = self.database.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut database.lock())).await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "sessions");
                Err(CallError::Failed(
                    "the session cannot be read or written".to_owned(),
                ))
            }
            Err(_) => Err(CallError::Canceled),
        }
    }
}

/// Whether a caller may name a session so.
pub fn valid_session_name(name: &str) -> bool {
    (1..=SESSION_NAME_BYTES).contains(&name.len()) && name.chars().all(|c| !c.is_control())
}

fn check(messages: &[Message]) -> Result<(), CallError> {
    if messages
        .iter()
        .any(|message| message.size() > SESSION_MESSAGE_BYTES)
    {
        return Err(CallError::limit(
            "session-message-bytes",
            SESSION_MESSAGE_BYTES as u64,
        ));
    }
    Ok(())
}

fn keys(database: &mut Connection) -> rusqlite::Result<Vec<SessionKey>> {
    let mut select = database.prepare_cached("SELECT tenant, agent, session FROM session")?;
    let rows = select.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
        ))
    })?;
    let mut keys = Vec::new();
    for row in rows {
        let (tenant, agent, session) = row?;
        // Names that this version does not allow belong to nobody who could ask.
        if let (Ok(tenant), Ok(agent)) = (tenant.parse(), agent.parse()) {
            keys.push(SessionKey {
                tenant,
                agent,
                session: session.into(),
            });
        }
    }
    Ok(keys)
}

fn history(
    database: &mut Connection,
    key: &SessionKey,
    most: u32,
) -> rusqlite::Result<Vec<Message>> {
    let mut select = database.prepare_cached(
        "SELECT message FROM session_message WHERE tenant = ?1 AND agent = ?2 AND session = ?3
         ORDER BY seq DESC LIMIT ?4",
    )?;
    let rows = select.query_map(
        params![key.tenant.as_str(), key.agent.as_str(), &*key.session, most],
        |row| row.get::<_, String>(0),
    )?;
    let mut messages = Vec::new();
    for row in rows {
        // A message that this version cannot read is left out rather than failing the conversation.
        messages.extend(serde_json::from_str(&row?).ok());
    }
    messages.reverse();
    Ok(messages)
}

fn append(
    database: &mut Connection,
    key: &SessionKey,
    messages: &[Message],
) -> rusqlite::Result<()> {
    let names = (key.tenant.as_str(), key.agent.as_str(), &*key.session);
    let transaction = database.transaction()?;
    let mut seq: i64 = transaction.query_row(
        "SELECT coalesce(max(seq), 0) FROM session_message
         WHERE tenant = ?1 AND agent = ?2 AND session = ?3",
        names,
        |row| row.get(0),
    )?;
    for message in messages {
        seq += 1;
        let text = serde_json::to_string(message)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        transaction.execute(
            "INSERT INTO session_message VALUES (?1, ?2, ?3, ?4, ?5)",
            params![names.0, names.1, names.2, seq, text],
        )?;
    }
    transaction.execute(
        "DELETE FROM session_message
         WHERE tenant = ?1 AND agent = ?2 AND session = ?3 AND seq <= ?4",
        params![names.0, names.1, names.2, seq - i64::from(SESSION_MESSAGES)],
    )?;
    touch(&transaction, names)?;
    transaction.commit()
}

/// Notes that a session was used now, and forgets the ones beyond [`SESSIONS_PER_AGENT`].
fn touch(database: &Connection, names: (&str, &str, &str)) -> rusqlite::Result<()> {
    database.execute(
        "INSERT INTO session SELECT ?1, ?2, ?3, coalesce(max(used), 0) + 1 FROM session
         WHERE tenant = ?1 AND agent = ?2
         ON CONFLICT DO UPDATE SET used = excluded.used",
        names,
    )?;
    let mut select = database.prepare_cached(
        "SELECT session FROM session WHERE tenant = ?1 AND agent = ?2
         ORDER BY used DESC LIMIT -1 OFFSET ?3",
    )?;
    let forgotten: Vec<String> = select
        .query_map(params![names.0, names.1, SESSIONS_PER_AGENT], |row| {
            row.get(0)
        })?
        .collect::<rusqlite::Result<_>>()?;
    for session in forgotten {
        for table in ["session", "session_message"] {
            database.execute(
                &format!("DELETE FROM {table} WHERE tenant = ?1 AND agent = ?2 AND session = ?3"),
                params![names.0, names.1, session],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Role, text_of};

    fn key(tenant: &str) -> SessionKey {
        SessionKey {
            tenant: tenant.parse().unwrap(),
            agent: "helper".parse().unwrap(),
            session: "s1".into(),
        }
    }

    #[tokio::test]
    async fn a_conversation_survives_reopening_and_stays_with_its_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessions.sqlite");
        let sessions = Sessions::open(&file).unwrap();
        let said = ["one", "two", "three"].map(|text| Message::text(Role::User, text));
        sessions.append(key("a"), said.to_vec()).await.unwrap();
        drop(sessions);
        let sessions = Sessions::open(&file).unwrap();
        let newest = sessions.history(key("a"), 2).await.unwrap();
        let texts: Vec<_> = newest
            .iter()
            .map(|message| text_of(&message.content))
            .collect();
        assert_eq!(texts, ["two", "three"]);
        assert!(sessions.history(key("b"), 2).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_conversation_is_taken_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(&folder.path().join("s.sqlite")).unwrap();
        for text in ["first", "second"] {
            let said = vec![Message::text(Role::User, text)];
            sessions.adopt(key("a"), said).await.unwrap();
        }
        let kept = sessions.history(key("a"), u32::MAX).await.unwrap();
        assert_eq!(kept, [Message::text(Role::User, "first")]);
        assert_eq!(sessions.keys().await.unwrap(), [key("a")]);
    }

    #[tokio::test]
    async fn old_messages_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(&folder.path().join("s.sqlite")).unwrap();
        let many = vec![Message::text(Role::User, "x"); SESSION_MESSAGES as usize + 5];
        sessions.append(key("a"), many).await.unwrap();
        let kept = sessions.history(key("a"), u32::MAX).await.unwrap();
        assert_eq!(kept.len(), SESSION_MESSAGES as usize);
    }
}
