//! Where the authorities are kept: keys in a Secret, certificates in a ConfigMap.
//!
//! The Secret is written before the ConfigMap, and nothing is signed before both are: whatever an operator
//! dies of, the next one reads what counts. Two that write at the same time do not both get through.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use ringfence_api::peer;
use time::OffsetDateTime;

use super::authority::{Authorities, AuthorityError};
use crate::error::Error;
use crate::metrics::Verb;
use crate::write::{FIELD_MANAGER, Writer, in_time};

/// Why there is nothing to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The API server refuses or does not answer.
    #[error(transparent)]
    Api(#[from] Error),
    /// What is kept cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Reads the authorities, makes and forgets what is due, and publishes what counts. Writes only what
/// changes.
pub(super) async fn tend(
    writer: &Writer,
    namespace: &str,
    now: OffsetDateTime,
) -> Result<Authorities, StoreError> {
    let secrets: Api<Secret> = writer.namespaced(namespace);
    let reading = secrets.get_opt(peer::AUTHORITY);
    let action = format!("read the Secret {}", peer::AUTHORITY);
    let kept = writer.read(action, reading).await?;
    let mut authorities = match &kept {
        Some(secret) => Authorities::read(&text(secret.data.as_ref()))?,
        None => Authorities::default(),
    };
    if authorities.tend(now)? {
        let data = authorities.data().into_iter();
        let data = data.map(|(name, text)| (name, ByteString(text.into_bytes())));
        let secret = Secret {
            metadata: kept.as_ref().map_or_else(metadata, |s| s.metadata.clone()),
            data: Some(data.collect()),
            ..Secret::default()
        };
        put(writer, &secrets, "Secret", &secret, kept.is_some()).await?;
    }
    publish(writer, namespace, &authorities).await?;
    Ok(authorities)
}

/// The authorities as they are kept, of which there are none before the leader has made one. Changes nothing.
pub(crate) async fn read(client: &Client, namespace: &str) -> Result<Authorities, StoreError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let action = format!("read the Secret {}", peer::AUTHORITY);
    let reading = secrets.get_opt(peer::AUTHORITY);
    let kept = in_time(action, reading).await?;
    let data = text(kept.as_ref().and_then(|secret| secret.data.as_ref()));
    Ok(Authorities::read(&data)?)
}

async fn publish(
    writer: &Writer,
    namespace: &str,
    authorities: &Authorities,
) -> Result<(), StoreError> {
    let maps: Api<ConfigMap> = writer.namespaced(namespace);
    let action = format!("read the ConfigMap {}", peer::AUTHORITY);
    let there = writer.read(action, maps.get_opt(peer::AUTHORITY)).await?;
    let wanted = BTreeMap::from([(peer::BUNDLE_KEY.to_owned(), authorities.bundle())]);
    if there.as_ref().and_then(|map| map.data.as_ref()) == Some(&wanted) {
        return Ok(());
    }
    let map = ConfigMap {
        metadata: there.as_ref().map_or_else(metadata, |m| m.metadata.clone()),
        data: Some(wanted),
        ..ConfigMap::default()
    };
    put(writer, &maps, "ConfigMap", &map, there.is_some()).await?;
    Ok(())
}

/// Makes or replaces an object, unless somebody else has changed it since it was read.
async fn put<K>(
    writer: &Writer,
    api: &Api<K>,
    kind: &str,
    object: &K,
    replace: bool,
) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let action = format!("write the {kind} {}", peer::AUTHORITY);
    if replace {
        let replacing = api.replace(peer::AUTHORITY, &params, object);
        writer.send(Verb::Patch, action, replacing).await?;
    } else {
        let creating = api.create(&params, object);
        writer.send(Verb::Create, action, creating).await?;
    }
    Ok(())
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(peer::AUTHORITY.to_owned()),
        ..ObjectMeta::default()
    }
}

/// What is not text is no authority, and is not found in it.
fn text(data: Option<&BTreeMap<String, ByteString>>) -> BTreeMap<String, String> {
    let entries = data.into_iter().flatten();
    entries
        .map(|(name, bytes)| (name.clone(), String::from_utf8_lossy(&bytes.0).into_owned()))
        .collect()
}
