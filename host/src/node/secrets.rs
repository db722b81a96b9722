//! Secrets of tenants: fetched when something that runs here refers to them, followed for as long as it does,
//! kept in memory and nowhere else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as Object;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use ringfence_api::{DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, SecretKey, SecretRef, TenantName};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use zeroize::Zeroize as _;

use crate::directory::status::Unresolved;
use crate::secret::{Absence, MAX_FOLLOWED, MAX_SECRET_BYTES, Secret, SecretError, TenantSecrets};

/// Wait after the first failure to read a Secret; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Seconds after which a watch begins anew: a permission that was taken away ends with it.
const WATCH_SECONDS: u32 = 120;
type Key = (TenantName, SecretKey);
type State = Result<Secret, Absence>;

/// A Secret that something refers to.
#[derive(Debug)]
struct Followed {
    users: usize,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

/// The Secrets that are followed.
pub(crate) struct ClusterSecrets {
    client: Client,
    followed: Mutex<HashMap<Key, Followed>>,
}

impl std::fmt::Debug for ClusterSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterSecrets").finish_non_exhaustive()
    }
}

impl ClusterSecrets {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Arc::new(Self {
            client,
            followed: Mutex::default(),
        })
    }

    /// Follows what is referred to, until the answer is dropped.
    pub(super) fn hold(
        self: &Arc<Self>,
        tenant: &TenantName,
        references: Vec<(&SecretRef, String)>,
    ) -> Held {
        let secrets = references.into_iter().filter_map(|(reference, field)| {
            let key = (tenant.clone(), reference.secret()?.clone());
            let state = self.follow(&key);
            Some((key, field, state))
        });
        Held {
            secrets: secrets.collect(),
            store: self.clone(),
        }
    }

    /// None where there are too many already.
    fn follow(&self, key: &Key) -> Option<watch::Receiver<State>> {
        let mut all = self.followed.lock();
        if let Some(followed) = all.get_mut(key) {
            followed.users += 1;
            return Some(followed.state.clone());
        }
        if all.len() >= MAX_FOLLOWED {
            return None;
        }
        let (sender, state) = watch::channel(Err(Absence::Unknown));
        let api = Api::namespaced(self.client.clone(), key.0.as_str());
        let task = tokio::spawn(follow(api, key.clone(), sender)).abort_handle();
        let followed = Followed {
            users: 1,
            state: state.clone(),
            task,
        };
        all.insert(key.clone(), followed);
        Some(state)
    }

    fn release(&self, key: &Key) {
        let mut all = self.followed.lock();
        let Some(followed) = all.get_mut(key) else {
            return;
        };
        followed.users -= 1;
        if followed.users == 0 {
            followed.task.abort();
            all.remove(key);
        }
    }
}

impl TenantSecrets for ClusterSecrets {
    fn get(&self, tenant: &TenantName, secret: &SecretKey) -> Result<Secret, SecretError> {
        let key = (tenant.clone(), secret.clone());
        let all = self.followed.lock();
        // What nothing that runs here refers to is not followed, so that it is not known.
        let state = all
            .get(&key)
            .map(|followed| followed.state.borrow().clone());
        drop(all);
        state
            .unwrap_or(Err(Absence::Unknown))
            .map_err(|why| absent(&key, why))
    }
}

fn named((tenant, SecretKey { name, key }): &Key) -> String {
    format!("secret:{tenant}/{name}/{key}")
}

fn absent(key: &Key, why: Absence) -> SecretError {
    SecretError::Absent {
        reference: named(key),
        why,
    }
}

/// Secrets that something here refers to.
pub(super) struct Held {
    secrets: Vec<(Key, String, Option<watch::Receiver<State>>)>,
    store: Arc<ClusterSecrets>,
}

impl Drop for Held {
    fn drop(&mut self) {
        for (key, _, state) in &self.secrets {
            if state.is_some() {
                self.store.release(key);
            }
        }
    }
}

impl Held {
    /// Whether it is none.
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Whether each of them is followed: some are not where a host has too many.
    pub(super) fn are_followed(&self) -> bool {
        self.secrets.iter().all(|(_, _, state)| state.is_some())
    }

    /// Follows what could not be followed so far, where the host has room by now.
    pub(super) fn follow_rest(&mut self) {
        for (key, _, state) in &mut self.secrets {
            if state.is_none() {
                *state = self.store.follow(key);
            }
        }
    }

    /// Why one of them cannot be had now.
    pub(super) fn trouble(&self) -> Option<Unresolved> {
        self.secrets.iter().find_map(|(key, field, state)| {
            let why = match state {
                Some(state) => state.borrow().as_ref().err().copied()?,
                None => Absence::TooMany,
            };
            let message = absent(key, why).to_string();
            Some(Unresolved::new(why.reason(), field.as_str(), message))
        })
    }

    /// Waits until one of them is another than when this was asked last.
    pub(super) async fn changed(&mut self) {
        let states = self.secrets.iter_mut().filter_map(|(_, _, state)| {
            let state = state.as_mut()?;
            Some(Box::pin(state.changed()))
        });
        let states: Vec<_> = states.collect();
        if states.is_empty() {
            return std::future::pending().await;
        }
        let (ended, _, _) = futures::future::select_all(states).await;
        if ended.is_err() {
            // Nobody follows it any more: there is no news to come.
            std::future::pending().await
        }
    }
}

/// Follows one key of one Secret for ever.
async fn follow(api: Api<Object>, key: Key, state: watch::Sender<State>) {
    let mut wait = FIRST_RETRY;
    loop {
        match read(&api, &key, &state).await {
            Ok(()) => wait = FIRST_RETRY,
            Err(error) => {
                let code = match &error {
                    kube::Error::Api(status) => status.code,
                    _ => 0,
                };
                if code == 403 {
                    set(&state, Err(Absence::Forbidden));
                }
                // What is known stays known while the API server is away.
                tracing::debug!(secret = named(&key), %error, "it is tried again");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

/// Reads it, and then what becomes of it, until the watch ends.
async fn read(api: &Api<Object>, key: &Key, state: &watch::Sender<State>) -> kube::Result<()> {
    let SecretKey { name, key } = &key.1;
    let version = match api.get_opt(name).await? {
        Some(object) => {
            let version = object.resource_version().unwrap_or_default();
            set(state, value(object, key));
            version
        }
        None => {
            set(state, Err(Absence::Missing));
            // From whatever there is when the watch begins.
            String::new()
        }
    };
    let one = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    let mut events = api.watch(&one, &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                set(state, value(object, key));
            }
            WatchEvent::Deleted(object) => {
                drop(value(object, key));
                set(state, Err(Absence::Missing));
            }
            WatchEvent::Bookmark(_) => {}
            // Most often the version is too old by now: it is read anew.
            WatchEvent::Error(_) => break,
        }
    }
    Ok(())
}

fn set(state: &watch::Sender<State>, now: State) {
    state.send_if_modified(|before| {
        let other = *before != now;
        if other {
            *before = now;
        }
        other
    });
}

/// The value of a key; whatever else is in the Secret is wiped. Logins at registries have a key and a type of
/// their own, as the kubelet wants them too.
fn value(object: Object, key: &str) -> State {
    let is_logins = object.type_.as_deref() == Some(DOCKER_CONFIG_TYPE);
    let mut data = object.data.unwrap_or_default();
    let found = data.remove(key);
    for ByteString(other) in data.values_mut() {
        other.zeroize();
    }
    let Some(ByteString(mut bytes)) = found else {
        return Err(Absence::NoKey);
    };
    if key == DOCKER_CONFIG_KEY && !is_logins {
        bytes.zeroize();
        return Err(Absence::NotLogins);
    }
    while matches!(bytes.last(), Some(b'\r' | b'\n')) {
        bytes.pop();
    }
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        bytes.zeroize();
        return Err(Absence::TooLong);
    }
    String::from_utf8(bytes).map(Secret::new).map_err(|error| {
        error.into_bytes().zeroize();
        Absence::NotText
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, bytes: &[u8]) -> Object {
        let data = [
            (key.to_owned(), ByteString(bytes.to_vec())),
            ("other".to_owned(), ByteString(b"another".to_vec())),
        ];
        Object {
            data: Some(data.into()),
            ..Object::default()
        }
    }

    #[test]
    fn a_key_is_taken_without_its_line_end() {
        let taken = value(object("token", b"hunter2\r\n"), "token").unwrap();
        assert_eq!(taken.expose(), "hunter2");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_and_what_is_too_large_too() {
        let most = usize::try_from(MAX_SECRET_BYTES).unwrap();
        let absent = |bytes: &[u8]| value(object("token", bytes), "token").unwrap_err();
        assert_eq!(absent(&[0xff]), Absence::NotText);
        assert_eq!(absent(&vec![b'x'; most + 1]), Absence::TooLong);
        assert!(value(object("token", &vec![b'x'; most]), "token").is_ok());
        assert_eq!(
            value(object("other-key", b"x"), "token"),
            Err(Absence::NoKey)
        );
        assert_eq!(value(Object::default(), "token"), Err(Absence::NoKey));
    }

    #[test]
    fn logins_at_registries_are_in_secrets_of_their_own_type() {
        let typed = |type_: Option<&str>| Object {
            type_: type_.map(ToOwned::to_owned),
            ..object(DOCKER_CONFIG_KEY, b"{}")
        };
        let logins = value(typed(Some(DOCKER_CONFIG_TYPE)), DOCKER_CONFIG_KEY);
        assert_eq!(logins.unwrap().expose(), "{}");
        for other in [Some("Opaque"), None] {
            let state = value(typed(other), DOCKER_CONFIG_KEY);
            assert_eq!(state, Err(Absence::NotLogins));
        }
    }

    /// The API server is never asked: no task runs between the steps.
    #[tokio::test]
    async fn what_a_full_host_cannot_follow_is_followed_once_there_is_room() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let store = ClusterSecrets::new(Client::try_from(nowhere).unwrap());
        let tenant = TenantName::default();
        let hold = |name: String| {
            let key = SecretKey {
                name,
                key: "token".into(),
            };
            let reference = SecretRef::Secret(key);
            store.hold(&tenant, vec![(&reference, "field".to_owned())])
        };
        let mut all: Vec<Held> = (0..MAX_FOLLOWED).map(|n| hold(format!("s{n}"))).collect();
        let reason = |held: &Held| held.trouble().map(|why| why.reason);
        let mut more = hold("more".into());
        assert_eq!(reason(&more), Some(Absence::TooMany.reason()));
        assert!(!more.are_followed());
        more.follow_rest();
        assert_eq!(reason(&more), Some(Absence::TooMany.reason()));
        all.pop();
        more.follow_rest();
        assert_eq!(reason(&more), Some(Absence::Unknown.reason()));
        assert!(more.are_followed());
    }
}
