//! Keeps the door as it should be: with a certificate that has not run out, of an authority that counts, for an
//! aggregator that is known by what the cluster says now.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rcgen::KeyPair;
use ringfence_api::chain;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::door::{Door, DoorError, Shown};
use super::front_proxy::{CONFIG_MAP, CONFIG_NAMESPACE, FrontProxy, FrontProxyError};
use super::server_name;
use crate::certificates::{self, Authorities, AuthorityError, Clock, StoreError};
use crate::error::Error;
use crate::write::in_time;

/// What did not work is tried again after this long, if the next look is later.
const RETRY: Duration = Duration::from_secs(2);

/// Why the door cannot be kept as it should be.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Api(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    FrontProxy(#[from] FrontProxyError),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error("there is no authority to sign with yet: the leader makes one")]
    NoAuthority,
}

/// What the operator shows to the aggregator, and by which authority.
struct Identity {
    shown: Shown,
    authority: String,
    /// When it is to be followed by another.
    due: OffsetDateTime,
}

pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) valid: Duration,
    pub(super) look: Duration,
    pub(super) clock: Clock,
}

impl Keeper {
    /// Keeps it for ever. None until it can be opened at all.
    pub(super) async fn keep(self, door: watch::Sender<Option<Arc<Door>>>) {
        let mut identity = None;
        let mut trouble = String::new();
        loop {
            let wait = match self.look(&mut identity, &door).await {
                Ok(()) => {
                    trouble.clear();
                    self.look
                }
                Err(error) => {
                    let error = chain(&error);
                    // What was in force stays so.
                    if error != trouble {
                        tracing::warn!(%error, "custom metrics are not served as they should be; it is tried again");
                    }
                    trouble = error;
                    RETRY.min(self.look)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn look(
        &self,
        identity: &mut Option<Identity>,
        door: &watch::Sender<Option<Arc<Door>>>,
    ) -> Result<(), KeepError> {
        let now = self.clock.now();
        let authorities = certificates::read(&self.client, &self.namespace).await?;
        let proxy = self.proxy().await?;
        let current = identity
            .take()
            .filter(|identity| identity.counts(&authorities, now));
        let is_new = current.is_none();
        let current = match current {
            Some(current) => current,
            None => self.identity(&authorities, now)?,
        };
        let same_proxy = door
            .borrow()
            .as_ref()
            .is_some_and(|door| door.proxy == proxy);
        let made = match is_new || !same_proxy {
            true => Some(Door::new(&current.shown, proxy)),
            false => None,
        };
        *identity = Some(current);
        if let Some(made) = made {
            door.send_replace(Some(Arc::new(made?)));
        }
        Ok(())
    }

    async fn proxy(&self) -> Result<FrontProxy, KeepError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), CONFIG_NAMESPACE);
        let action = format!("read the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_MAP}");
        let map = in_time(action, maps.get_opt(CONFIG_MAP)).await?;
        let data = map.and_then(|map| map.data).unwrap_or_default();
        Ok(FrontProxy::read(&data)?)
    }

    fn identity(
        &self,
        authorities: &Authorities,
        now: OffsetDateTime,
    ) -> Result<Identity, KeepError> {
        let authority = authorities.signer(now).ok_or(KeepError::NoAuthority)?;
        let key = KeyPair::generate().map_err(AuthorityError::from)?;
        let name = server_name(&self.namespace);
        let certificate = authority.sign_server(&name, &key, now, self.valid)?;
        Ok(Identity {
            shown: Shown {
                certificate,
                key: key.serialize_der(),
            },
            authority: authority.certificate().to_owned(),
            // As hosts do.
            due: now + self.valid * 2 / 3,
        })
    }
}

impl Identity {
    fn counts(&self, authorities: &Authorities, now: OffsetDateTime) -> bool {
        now < self.due && authorities.bundle().contains(&self.authority)
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
