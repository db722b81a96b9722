//! Agents, tools, models and ceilings as objects of the API server, in the form in which a host shows
//! them.

use anyhow::Result;
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, ValidationDirective,
};
use kube::core::{ApiResource, Resource};
use ringfence_api::{Agent, Ceiling, Kind, Manifest, Model, TenantName, Tool};
use serde_json::{Map, Value, json};

use super::Cluster;

/// Whose fields those are that this command applies.
pub const FIELD_MANAGER: &str = "ringfence-cli";
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// What of the metadata is shown: what a host has too.
const SHOWN: [&str; 6] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generation",
    "creationTimestamp",
];

/// What applying a manifest did, or would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// `created`, `configured` or `unchanged`.
    pub change: &'static str,
    /// The object afterwards.
    pub object: Value,
}

fn definition(kind: Kind) -> ApiResource {
    fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
        ApiResource::erase::<K>(&())
    }
    match kind {
        Kind::Agent => of::<Agent>(),
        Kind::Tool => of::<Tool>(),
        Kind::Model => of::<Model>(),
        Kind::Ceiling => of::<Ceiling>(),
    }
}

impl Cluster {
    fn objects(&self, kind: Kind, tenant: &TenantName) -> Api<DynamicObject> {
        let definition = definition(kind);
        match kind.is_of_tenants() {
            true => Api::namespaced_with(self.client.clone(), tenant.as_str(), &definition),
            false => Api::all_with(self.client.clone(), &definition),
        }
    }

    /// The objects of a kind in the tenant, by name.
    ///
    /// # Errors
    /// The API server cannot be reached, or refuses.
    pub async fn list(&self, kind: Kind) -> Result<Vec<Value>> {
        self.pages(kind, &self.objects(kind, &self.tenant)).await
    }

    /// The objects of a kind in every tenant.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_everywhere(&self, kind: Kind) -> Result<Vec<Value>> {
        let definition = definition(kind);
        let all = Api::all_with(self.client.clone(), &definition);
        self.pages(kind, &all).await
    }

    async fn pages(&self, kind: Kind, api: &Api<DynamicObject>) -> Result<Vec<Value>> {
        let mut params = ListParams::default().limit(PAGE);
        let mut items = Vec::new();
        loop {
            let page = api
                .list(&params)
                .await
                .map_err(|error| self.failed(kind.plural(), &error))?;
            items.extend(page.items.iter().map(|object| shown(kind, object)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// One object.
    ///
    /// # Errors
    /// There is none, or as [`Self::list`].
    pub async fn one(&self, kind: Kind, name: &str) -> Result<Value> {
        let what = what(kind, name);
        let found = self.objects(kind, &self.tenant).get(name).await;
        let object = found.map_err(|error| self.failed(&what, &error))?;
        Ok(shown(kind, &object))
    }

    /// One object with everything that the API server says of it.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub async fn whole(&self, kind: Kind, name: &str) -> Result<Value> {
        let found = self.objects(kind, &self.tenant).get(name).await;
        let object = found.map_err(|error| self.failed(&what(kind, name), &error))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Puts an object in the place of what [`Self::whole`] gave. False where somebody else has changed it
    /// meanwhile and `again` says that the caller looks at it anew.
    ///
    /// # Errors
    /// It is refused, or was changed by somebody else.
    pub async fn replace(
        &self,
        kind: Kind,
        name: &str,
        object: Value,
        again: bool,
    ) -> Result<bool> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let params = PostParams {
            dry_run: false,
            field_manager: Some(FIELD_MANAGER.to_owned()),
        };
        let api = self.objects(kind, &self.tenant);
        match api.replace(name, &params, &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 && again => Ok(false),
            Err(error) => Err(self.failed(&what(kind, name), &error)),
        }
    }

    /// Creates or changes an object (server-side apply). `force` takes fields over from other managers.
    ///
    /// # Errors
    /// It is refused, or other managers have its fields.
    pub async fn apply(&self, manifest: &Manifest, dry_run: bool, force: bool) -> Result<Applied> {
        let (kind, tenant, name) = manifest.key();
        let what = what(kind, name.as_str());
        let api = self.objects(kind, &tenant);
        let failed = |error| self.failed(&what, &error);
        let before = api.get_opt(name.as_str()).await.map_err(failed)?;
        let params = PatchParams {
            dry_run,
            force,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let patch = Patch::Apply(manifest.to_json());
        let after = api
            .patch(name.as_str(), &params, &patch)
            .await
            .map_err(failed)?;
        let object = shown(kind, &after);
        let change = match before.map(|before| shown(kind, &before)) {
            None => "created",
            Some(before) if same(&before, &object) => "unchanged",
            Some(_) => "configured",
        };
        Ok(Applied { change, object })
    }

    /// Deletes an object; what it owns goes with it.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub async fn delete(&self, kind: Kind, tenant: &TenantName, name: &str) -> Result<()> {
        let deleted = self
            .objects(kind, tenant)
            .delete(name, &DeleteParams::default())
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&what(kind, name), &error)),
        }
    }
}

fn what(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.as_str().to_ascii_lowercase())
}

/// Whether nothing that was applied differs.
fn same(before: &Value, after: &Value) -> bool {
    let part = |object: &Value| {
        let metadata = &object["metadata"];
        json!([object["spec"], metadata["labels"], metadata["annotations"]])
    };
    part(before) == part(after)
}

/// An object as a host shows it: without what only the API server needs. Where a host says in
/// `status.file` from which file it comes, `status.manager` says here who applied it.
fn shown(kind: Kind, object: &DynamicObject) -> Value {
    // An object from the wire is JSON already.
    let mut metadata = json!(object.metadata);
    let manager = manager(&metadata["managedFields"]);
    if let Some(map) = metadata.as_object_mut() {
        map.retain(|key, _| SHOWN.contains(&key.as_str()));
    }
    let mut shown = Map::new();
    shown.insert("apiVersion".to_owned(), ringfence_api::API_VERSION.into());
    shown.insert("kind".to_owned(), kind.as_str().into());
    shown.insert("metadata".to_owned(), metadata);
    for part in ["spec", "status"] {
        if let Some(value) = object.data.get(part) {
            shown.insert(part.to_owned(), value.clone());
        }
    }
    let mut shown = Value::Object(shown);
    if let Some(manager) = manager {
        shown["status"]["manager"] = manager.into();
    }
    shown
}

/// Who has the spec, where it is not this command: the one that wrote last.
fn manager(fields: &Value) -> Option<String> {
    let entries = fields.as_array()?;
    let newest = entries
        .iter()
        .filter(|entry| {
            entry.get("subresource").is_none() && !entry["fieldsV1"]["f:spec"].is_null()
        })
        .max_by_key(|entry| entry["time"].as_str().unwrap_or_default().to_owned())?;
    newest["manager"]
        .as_str()
        .filter(|name| *name != FIELD_MANAGER)
        .map(ToOwned::to_owned)
}
