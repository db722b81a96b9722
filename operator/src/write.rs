//! The only place that writes to the API server. Only the leader does; and since what it has sent may arrive after
//! another has taken over, it names the version of the object that it is about, and is refused where that is
//! another one by then. Every request has a deadline and is counted; an answer goes back into the index, so that
//! nothing is computed from what the operator itself has outdated.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{
    DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, ValidationDirective,
};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource, ResourceExt as _};
use ringfence_api::{API_VERSION, Instance, Name, Pinned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::Error;
use crate::metrics::{Metrics, Verb};
use crate::term::Term;

/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "ringfence-operator";
/// How long the API server may take to answer a write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes to the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Metrics,
    term: Term,
}

impl Writer {
    /// A writer that writes for as long as `term` says.
    pub fn new(client: Client, metrics: Metrics, term: Term) -> Self {
        Self {
            client,
            metrics,
            term,
        }
    }

    /// What it writes over.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What it counts with.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
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

    /// Deletes an instance, provided that it is still as it was seen; one that is gone already is fine.
    ///
    /// # Errors
    /// Somebody else has changed the instance (409), or the API server does not answer.
    pub async fn delete(&self, seen: &Instance) -> Result<(), Error> {
        let tenant = seen.namespace().unwrap_or_default();
        let name = seen.name_any();
        let api = self.namespaced::<Instance>(&tenant);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: seen.metadata.uid.clone(),
                resource_version: seen.metadata.resource_version.clone(),
            }),
            ..DeleteParams::background()
        };
        let action = format!("delete instance {tenant}/{name}");
        let deleting = api.delete(&name, &params);
        match self.send(Verb::Delete, action, deleting).await {
            Err(error) if error.code() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Pins what an instance runs and may do, provided that it is still as it was seen.
    ///
    /// # Errors
    /// Somebody else has changed the instance (409), or the API server does not answer.
    pub async fn pin(&self, seen: &Instance, pinned: &Pinned) -> Result<Instance, Error> {
        let spec = json!({"pinned": pinned});
        self.change(seen, "pin", spec).await
    }

    /// Changes what an instance weighs, provided that it is still as it was seen; none takes its weight away.
    ///
    /// # Errors
    /// Somebody else has changed the instance (409), or the API server does not answer.
    pub async fn weigh(&self, seen: &Instance, weight: Option<u32>) -> Result<Instance, Error> {
        let spec = json!({"weight": weight});
        self.change(seen, "weigh", spec).await
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

    /// Gives an entry of a history another number, provided that it is still the version that was seen.
    ///
    /// # Errors
    /// Somebody else has changed it (409), or the API server does not answer.
    pub async fn renumber(
        &self,
        tenant: &str,
        name: &str,
        number: i64,
        seen: Option<&str>,
    ) -> Result<ControllerRevision, Error> {
        let patch = json!({"metadata": {"resourceVersion": seen}, "revision": number});
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

    /// Binds an instance to a host, provided that it is still as it was seen.
    ///
    /// # Errors
    /// Somebody else has changed the instance (409), or the API server does not answer.
    pub async fn bind(&self, seen: &Instance, host: &Name) -> Result<Instance, Error> {
        let spec = json!({"hostName": host});
        self.change(seen, "bind", spec).await
    }

    async fn change(
        &self,
        seen: &Instance,
        verb: &str,
        spec: serde_json::Value,
    ) -> Result<Instance, Error> {
        let (tenant, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
        let version = &seen.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        let action = format!("{verb} instance {tenant}/{name}");
        let api = self.namespaced(&tenant);
        self.merge_into(&api, action, &name, &patch).await
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

    /// Applies the status of an object, provided that it is still the version that was seen. None where the
    /// object is gone.
    ///
    /// # Errors
    /// Somebody else has changed the object (409), or the API server does not answer.
    pub async fn status<K, S>(
        &self,
        api: &Api<K>,
        kind: &str,
        seen: &ObjectMeta,
        status: &S,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize + Sync,
    {
        let name = seen.name.as_deref().unwrap_or_default();
        let applied = json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": {"name": name, "resourceVersion": seen.resource_version},
            "status": status,
        });
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

    /// Applies an object of one of Kubernetes' own kinds, provided that it is still as it was seen, where it
    /// was. Fields that it does not know are refused.
    ///
    /// # Errors
    /// Somebody else has changed the object (409), or the API server does not answer.
    pub async fn apply<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        mut object: serde_json::Value,
        seen: Option<&ObjectMeta>,
    ) -> Result<K, Error>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut params = PatchParams::apply(FIELD_MANAGER).force();
        params.field_validation = Some(ValidationDirective::Strict);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let name = name.to_owned();
        if let Some(seen) = seen {
            object["metadata"]["uid"] = json!(seen.uid);
            object["metadata"]["resourceVersion"] = json!(seen.resource_version);
        }
        let patch = Patch::Apply(&object);
        let action = format!("apply {kind} {name}");
        self.send(Verb::Patch, action, api.patch(&name, &params, &patch))
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

    /// Writes, and counts it. Nothing is begun by who does not lead.
    pub(crate) async fn send<T>(
        &self,
        verb: Verb,
        action: String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        if !self.term.holds() {
            return Err(Error::NotLeading { action });
        }
        let answer = in_time(action, request).await;
        self.metrics.written(verb, answer.is_ok());
        answer
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn in_time<T>(
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

#[cfg(test)]
#[path = "write_tests.rs"]
pub(crate) mod tests;
