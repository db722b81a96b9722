//! The only place that writes to the API server. Every request has a deadline and is counted; an answer
//! goes back into the index, so that nothing is computed from what the operator itself has outdated.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource, ResourceExt as _};
use ringfence_api::{API_VERSION, Instance, Name, Pinned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::Error;
use crate::key::InstanceKey;
use crate::metrics::{Metrics, Verb};

/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "ringfence-operator";
/// How long the API server may take to answer a write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes to the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Metrics,
}

impl Writer {
    /// A writer.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// Makes an instance; none where there is one of that name already.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn create(&self, instance: &Instance) -> Result<Option<Instance>, Error> {
        let tenant = instance.metadata.namespace.as_deref().unwrap_or_default();
        self.make(self.namespaced(tenant), "instance", instance)
            .await
    }

    async fn make<K>(&self, api: Api<K>, what: &str, object: &K) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Serialize,
    {
        let (tenant, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let action = format!("create {what} {tenant}/{name}");
        let made = self
            .send(Verb::Create, action, api.create(&params, object))
            .await;
        match made {
            Err(error) if error.code() == Some(409) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Deletes an instance; one that is gone already is fine.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete(&self, tenant: &str, name: &str, uid: Option<&str>) -> Result<(), Error> {
        let api = self.namespaced::<Instance>(tenant);
        let uid = uid.map(ToOwned::to_owned);
        self.remove(&api, "instance", name, uid).await
    }

    /// Pins what an instance runs and may do.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pin(&self, tenant: &str, name: &str, pinned: &Pinned) -> Result<Instance, Error> {
        let patch = json!({"spec": {"pinned": pinned}});
        self.merge(tenant, name, "pin", &patch).await
    }

    /// Changes what an instance weighs; none takes its weight away.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn weigh(
        &self,
        tenant: &str,
        name: &str,
        weight: Option<u32>,
    ) -> Result<Instance, Error> {
        let patch = json!({"spec": {"weight": weight}});
        self.merge(tenant, name, "weigh", &patch).await
    }

    /// Makes an entry of a history; none where there is one of that name already.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn record(
        &self,
        entry: &ControllerRevision,
    ) -> Result<Option<ControllerRevision>, Error> {
        let tenant = entry.metadata.namespace.as_deref().unwrap_or_default();
        self.make(self.namespaced(tenant), "revision", entry).await
    }

    /// Gives an entry of a history another number.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn renumber(
        &self,
        tenant: &str,
        name: &str,
        number: i64,
    ) -> Result<ControllerRevision, Error> {
        let patch = json!({"revision": number});
        let api = self.namespaced(tenant);
        self.merge_into(
            &api,
            format!("renumber revision {tenant}/{name}"),
            name,
            &patch,
        )
        .await
    }

    /// Deletes an entry of a history; one that is gone already is fine.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn forget(&self, tenant: &str, name: &str) -> Result<(), Error> {
        let api = self.namespaced::<ControllerRevision>(tenant);
        self.remove(&api, "revision", name, None).await
    }

    /// Binds an instance to a host, provided that it is still bound to where it was seen.
    ///
    /// # Errors
    /// Somebody else has changed the instance (409), or the API server does not answer.
    pub async fn bind(
        &self,
        key: &InstanceKey,
        host: &Name,
        resource_version: Option<&str>,
    ) -> Result<Instance, Error> {
        let patch = json!({
            "metadata": {"resourceVersion": resource_version},
            "spec": {"hostName": host},
        });
        self.merge(key.tenant.as_str(), &key.name, "bind", &patch)
            .await
    }

    async fn merge(
        &self,
        tenant: &str,
        name: &str,
        verb: &str,
        patch: &serde_json::Value,
    ) -> Result<Instance, Error> {
        let api = self.namespaced(tenant);
        self.merge_into(
            &api,
            format!("{verb} instance {tenant}/{name}"),
            name,
            patch,
        )
        .await
    }

    async fn merge_into<K>(
        &self,
        api: &Api<K>,
        action: String,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        self.send(Verb::Patch, action, api.patch(name, &params, &patch))
            .await
    }

    /// Applies the status of an object. None where the object is gone.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn status<K, S>(
        &self,
        api: &Api<K>,
        kind: &str,
        name: &str,
        status: &S,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize + Sync,
    {
        self.status_of(api, kind, name, None, status).await
    }

    /// The same, provided that the object is still the version that was seen.
    ///
    /// # Errors
    /// Somebody else has changed the object (409), or as [`Self::status`].
    pub async fn status_of<K, S>(
        &self,
        api: &Api<K>,
        kind: &str,
        name: &str,
        seen: Option<&str>,
        status: &S,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize + Sync,
    {
        let mut applied = json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": {"name": name},
            "status": status,
        });
        if let Some(seen) = seen {
            applied["metadata"]["resourceVersion"] = seen.into();
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&applied);
        let action = format!("write the status of {kind} {name}");
        match self
            .send(
                Verb::Status,
                action,
                api.patch_status(name, &params, &patch),
            )
            .await
        {
            Err(error) if error.code() == Some(404) => Ok(None),
            written => written.map(Some),
        }
    }

    /// Applies an object of one of Kubernetes' own kinds. Fields that it does not know are refused.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn apply<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        name: &str,
        object: &serde_json::Value,
    ) -> Result<K, Error>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut params = PatchParams::apply(FIELD_MANAGER).force();
        params.field_validation = Some(ValidationDirective::Strict);
        let patch = Patch::Apply(object);
        let action = format!("apply {kind} {name}");
        self.send(Verb::Patch, action, api.patch(name, &params, &patch))
            .await
    }

    /// Deletes an object, and what it owns afterwards; one that is gone already is fine.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remove<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        name: &str,
        uid: Option<String>,
    ) -> Result<(), Error>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut params = DeleteParams::background();
        // Never another object that has taken the name meanwhile.
        params.preconditions = uid.map(|uid| Preconditions {
            uid: Some(uid),
            resource_version: None,
        });
        let action = format!("delete {kind} {name}");
        match self
            .send(Verb::Delete, action, api.delete(name, &params))
            .await
        {
            Err(error) if !matches!(error.code(), Some(404 | 409)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The interface of a kind's objects in a namespace.
    pub fn dynamic(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    /// The typed interface of a namespace's objects.
    pub fn namespaced<K>(&self, tenant: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), tenant)
    }

    /// The typed interface of cluster-wide objects.
    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Reads, with the same deadline.
    pub(crate) async fn read<T>(
        &self,
        action: String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        in_time(action, request).await
    }

    /// Writes, and counts it.
    pub(crate) async fn send<T>(
        &self,
        verb: Verb,
        action: String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let answer = in_time(action, request).await;
        self.metrics.written(verb, answer.is_ok());
        answer
    }
}

async fn in_time<T>(
    action: String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(Error::api(action)),
        Err(_) => Err(Error::Timeout {
            action,
            after: WRITE_TIMEOUT,
        }),
    }
}
