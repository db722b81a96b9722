//! What users applied, kept in SQLite. A resource that was acknowledged is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_api::{Digest, Kind, Manifest, Name, Resource, TenantName};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Version of the schema below.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE resource (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    spec TEXT NOT NULL,
    digest TEXT,
    file TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, name)
) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str =
    "tenant, kind, name, generation, metadata, spec, digest, file, created_ms, updated_ms";

/// Names one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

impl Key {
    /// The key of a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let (kind, tenant, name) = manifest.key();
        Self { tenant, kind, name }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind.is_of_tenants() {
            true => write!(f, "{} {}/{}", self.kind, self.tenant, self.name),
            false => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A resource as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What was applied.
    pub manifest: Manifest,
    /// How often its spec was changed, from 1.
    pub generation: u64,
    /// The digest that its component was pinned to.
    pub digest: Option<Digest>,
    /// The file of the manifest folder that it comes from; none when it was applied.
    pub file: Option<String>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was changed last.
    pub updated_ms: u64,
}

/// Why the state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refuses.
    #[error("the state in {} cannot be read or written", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It was written by a newer version.
    #[error(
        "the state in {} has version {found}, this host knows {VERSION}: use the newer ringfence that wrote it",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
    },
}

/// The resources of a host. One writer; cheap to clone.
#[derive(Clone)]
pub struct Store {
    path: Arc<Path>,
    database: Arc<Mutex<Connection>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the state in a file, making it where needed. Blocks on the disk.
    ///
    /// # Errors
    /// The file is no database, is of a newer version, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |source| StoreError::Database {
            path: path.to_owned(),
            source,
        };
        let database = Connection::open(path).map_err(fail)?;
        database
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(fail)?;
        // An acknowledged change survives the loss of power, not only the loss of the process.
        database
            .pragma_update(None, "synchronous", "FULL")
            .map_err(fail)?;
        let found: i64 = database
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(fail)?;
        match found {
            VERSION => {}
            0 => {
                let script = format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;");
                database.execute_batch(&script).map_err(fail)?;
            }
            _ => {
                return Err(StoreError::Version {
                    path: path.to_owned(),
                    found,
                });
            }
        }
        Ok(Self {
            path: path.into(),
            database: Arc::new(Mutex::new(database)),
        })
    }

    /// One resource.
    ///
    /// # Errors
    /// The database refuses, as with every function here.
    pub async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        Ok(self.find(vec![key.clone()]).await?.pop().flatten())
    }

    /// Several resources, in the order of the keys.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn find(&self, keys: Vec<Key>) -> Result<Vec<Option<Stored>>, StoreError> {
        self.with(move |database| {
            let mut select = database.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM resource WHERE tenant = ?1 AND kind = ?2 AND name = ?3"
            ))?;
            let find = |key: &Key| {
                let names = (key.tenant.as_str(), key.kind.as_str(), key.name.as_str());
                select
                    .query_row(names, read)
                    .optional()
                    .map(Option::flatten)
            };
            keys.iter().map(find).collect()
        })
        .await
    }

    /// The resources of a tenant, or of all; of one kind, or of all. By tenant, kind and name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn list(
        &self,
        tenant: Option<TenantName>,
        kind: Option<Kind>,
    ) -> Result<Vec<Stored>, StoreError> {
        self.with(move |database| {
            let mut select = database.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM resource
                 WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR kind = ?2)
                 ORDER BY tenant, kind, name"
            ))?;
            let kind = kind.map(Kind::as_str);
            let rows =
                select.query_map(params![tenant.as_ref().map(TenantName::as_str), kind], read)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// How many resources a tenant has.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count(&self, tenant: &TenantName) -> Result<usize, StoreError> {
        let tenant = tenant.clone();
        self.with(move |database| {
            let sql = "SELECT count(*) FROM resource WHERE tenant = ?1";
            let count: i64 = database.query_row(sql, [tenant.as_str()], |row| row.get(0))?;
            Ok(usize::try_from(count).unwrap_or_default())
        })
        .await
    }

    /// Whether a resource of the tenant was pinned to this digest.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn uses(
        &self,
        tenant: &TenantName,
        digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let (tenant, digest) = (tenant.clone(), digest.to_string());
        self.with(move |database| {
            database
                .query_row(
                    "SELECT kind || ' ' || name FROM resource WHERE tenant = ?1 AND digest = ?2 LIMIT 1",
                    params![tenant.as_str(), digest],
                    |row| row.get(0),
                )
                .optional()
        })
        .await
    }

    /// Writes all of `put` and removes all of `gone`, or nothing: one transaction. When this returns,
    /// the change is on the disk.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn write(&self, put: Vec<Stored>, gone: Vec<Key>) -> Result<(), StoreError> {
        self.with(move |database| {
            let transaction = database.transaction()?;
            {
                let mut insert = transaction.prepare_cached(&format!(
                    "INSERT OR REPLACE INTO resource ({COLUMNS})
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                ))?;
                for stored in &put {
                    insert_one(&mut insert, stored)?;
                }
                let mut delete = transaction.prepare_cached(
                    "DELETE FROM resource WHERE tenant = ?1 AND kind = ?2 AND name = ?3",
                )?;
                for key in &gone {
                    delete.execute((key.tenant.as_str(), key.kind.as_str(), key.name.as_str()))?;
                }
            }
            transaction.commit()
        })
        .await
    }

    /// Runs work where it may block. It is finished even if the caller goes away.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.database.clone();
        let fail = |source| StoreError::Database {
            path: self.path.to_path_buf(),
            source,
        };
        tokio::task::spawn_blocking(move || work(&mut database.lock()))
            .await
            .map_err(|error| fail(rusqlite::Error::ToSqlConversionFailure(error.into())))?
            .map_err(fail)
    }
}

fn insert_one(insert: &mut rusqlite::CachedStatement<'_>, stored: &Stored) -> rusqlite::Result<()> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let manifest = &stored.manifest;
    let spec = match &manifest.resource {
        Resource::Agent(spec) => serde_json::to_string(spec),
        Resource::Tool(spec) => serde_json::to_string(spec),
        Resource::Model(spec) => serde_json::to_string(spec),
        Resource::Ceiling(spec) => serde_json::to_string(spec),
    };
    insert.execute(params![
        manifest.metadata.namespace.as_str(),
        manifest.kind().as_str(),
        manifest.metadata.name.as_str(),
        number(stored.generation),
        json(serde_json::to_string(&manifest.metadata))?,
        json(spec)?,
        stored.digest.map(|digest| digest.to_string()),
        stored.file,
        number(stored.created_ms),
        number(stored.updated_ms),
    ])?;
    Ok(())
}

/// A row that this version cannot read (written by hand, or by another version) is left out and said
/// in the log: one bad resource must not keep the host from starting.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Stored>> {
    let (tenant, kind, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (metadata, spec): (String, String) = (row.get(4)?, row.get(5)?);
    let number = |column: usize| {
        row.get::<_, i64>(column)
            .map(|value| u64::try_from(value).unwrap_or_default())
    };
    let digest: Option<String> = row.get(6)?;
    let manifest = match manifest(&kind, &metadata, &spec) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::error!(%tenant, %kind, %name, %error, "a resource in the state cannot be read");
            return Ok(None);
        }
    };
    Ok(Some(Stored {
        manifest,
        generation: number(3)?,
        digest: digest.and_then(|digest| digest.parse().ok()),
        file: row.get(7)?,
        created_ms: number(8)?,
        updated_ms: number(9)?,
    }))
}

fn manifest(
    kind: &str,
    metadata: &str,
    spec: &str,
) -> Result<Manifest, Box<dyn std::error::Error>> {
    let resource = match kind.parse()? {
        Kind::Agent => Resource::Agent(serde_json::from_str(spec)?),
        Kind::Tool => Resource::Tool(serde_json::from_str(spec)?),
        Kind::Model => Resource::Model(serde_json::from_str(spec)?),
        Kind::Ceiling => Resource::Ceiling(serde_json::from_str(spec)?),
    };
    Ok(Manifest {
        metadata: serde_json::from_str(metadata)?,
        resource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str, generation: u64) -> Stored {
        let document = serde_json::json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Tool",
            "metadata": {"name": name}, "spec": {"agent": "a"}
        });
        Stored {
            manifest: Manifest::from_json(document, &TenantName::default()).unwrap(),
            generation,
            digest: Some(Digest::of(b"x")),
            file: None,
            created_ms: 1,
            updated_ms: 2,
        }
    }

    #[tokio::test]
    async fn resources_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.sqlite");
        let store = Store::open(&file).unwrap();
        store
            .write(vec![stored("a", 1), stored("b", 2)], Vec::new())
            .await
            .unwrap();
        store
            .write(
                vec![stored("b", 3)],
                vec![Key::of(&stored("a", 1).manifest)],
            )
            .await
            .unwrap();
        drop(store);
        let store = Store::open(&file).unwrap();
        assert_eq!(store.list(None, None).await.unwrap(), [stored("b", 3)]);
        assert_eq!(store.list(None, Some(Kind::Agent)).await.unwrap(), []);
        let other: TenantName = "other".parse().unwrap();
        assert_eq!(store.list(Some(other), None).await.unwrap(), []);
        let digest = Digest::of(b"x");
        let user = store.uses(&TenantName::default(), &digest).await.unwrap();
        assert_eq!(user.as_deref(), Some("Tool b"));
    }

    #[tokio::test]
    async fn a_newer_state_and_an_unreadable_row_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.sqlite");
        let store = Store::open(&file).unwrap();
        store
            .write(vec![stored("a", 1), stored("b", 2)], Vec::new())
            .await
            .unwrap();
        {
            let database = store.database.lock();
            database
                .execute("UPDATE resource SET spec = '{}x' WHERE name = 'a'", [])
                .unwrap();
        }
        assert_eq!(store.list(None, None).await.unwrap(), [stored("b", 2)]);
        store
            .database
            .lock()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        drop(store);
        assert!(matches!(
            Store::open(&file),
            Err(StoreError::Version { found: 99, .. })
        ));
    }
}
