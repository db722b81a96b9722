//! The functions of an endpoint as MCP lists them, made once per change of the tenant.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use ringfence_api::{FunctionName, Name, TenantName};
use rmcp::model::Tool;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::directory::{Directory, FunctionSummary};
use crate::gateway::auth::Visible;

/// Endpoints whose lists are kept; when there are more, all are made anew.
const KEPT: usize = 4096;

/// What one endpoint offers.
pub(super) struct Listing {
    /// The functions, sorted by name.
    pub(super) tools: Vec<Tool>,
    by_name: HashMap<String, Entry>,
    changes: watch::Receiver<u64>,
}

/// Where a function is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) tool: Name,
    pub(super) function: FunctionName,
    /// Index into [`Listing::tools`].
    index: usize,
    /// Whether the schema asks for arguments in headers (`x-mcp-header`).
    pub(super) wants_headers: bool,
}

impl Listing {
    fn make(directory: &Directory, tenant: &TenantName, only: Option<&Name>) -> Self {
        let mut changes = directory.changes(tenant);
        changes.mark_unchanged();
        let view = directory.view(tenant);
        let mut found = Vec::new();
        let tools = match only {
            Some(name) => view
                .any_tool(name)
                .map(|tool| (name.clone(), tool))
                .into_iter()
                .collect(),
            None => view.all_tools(),
        };
        for (name, (description, functions)) in &tools {
            for function in functions.iter() {
                let listed = match only {
                    Some(_) => function.name.to_string(),
                    None => format!("{name}_{}", function.name),
                };
                found.push((listed, name.clone(), description.clone(), function.clone()));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let mut tools = Vec::with_capacity(found.len());
        let mut by_name = HashMap::with_capacity(found.len());
        for (index, (listed, tool, description, function)) in found.into_iter().enumerate() {
            let entry = Entry {
                tool,
                function: function.name.clone(),
                index,
                wants_headers: mentions_header(&function.input_schema),
            };
            tools.push(describe(listed.clone(), function, &description));
            by_name.insert(listed, entry);
        }
        Self {
            tools,
            by_name,
            changes,
        }
    }

    /// A function by the name it is listed under.
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name)
    }

    /// A function's description by the name it is listed under.
    pub(super) fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.get(self.by_name.get(name)?.index)
    }

    /// The functions of the tools that somebody sees.
    pub(super) fn visible(&self, seen: &Visible) -> Vec<Tool> {
        self.tools
            .iter()
            .filter(|tool| self.is_seen(tool, seen))
            .cloned()
            .collect()
    }

    /// Of the functions that somebody sees, those after the one named `after`, at most `most`, and whether
    /// there are more.
    pub(super) fn page(
        &self,
        seen: &Visible,
        after: Option<&str>,
        most: usize,
    ) -> (Vec<Tool>, bool) {
        let start = after.map_or(0, |after| {
            self.tools.partition_point(|tool| &*tool.name <= after)
        });
        let mut rest = self.tools[start..]
            .iter()
            .filter(|tool| self.is_seen(tool, seen));
        let page = rest.by_ref().take(most).cloned().collect();
        (page, rest.next().is_some())
    }

    fn is_seen(&self, tool: &Tool, seen: &Visible) -> bool {
        match seen {
            Visible::All => true,
            Visible::Only(_) => {
                let entry = self.by_name.get(&*tool.name);
                entry.is_some_and(|entry| seen.has(&entry.tool))
            }
        }
    }

    fn is_current(&self) -> bool {
        matches!(self.changes.has_changed(), Ok(false))
    }
}

/// A function without a description of its own gets that of its tool, and none where there is none:
/// clients show an empty text as if it said something.
fn describe(name: String, function: FunctionSummary, of_tool: &str) -> Tool {
    let description = [&*function.description, of_tool]
        .into_iter()
        .find(|text| !text.is_empty())
        .map(|text| text.to_owned().into());
    let tool = Tool::new_with_raw(name, description, function.input_schema);
    match function.output_schema {
        Some(schema) => tool.with_raw_output_schema(schema),
        None => tool,
    }
}

fn mentions_header(schema: &Map<String, Value>) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Object(map) => mentions_header(map),
            Value::Array(items) => items.iter().any(within),
            _ => false,
        }
    }
    schema
        .iter()
        .any(|(key, value)| key == "x-mcp-header" || within(value))
}

/// An endpoint: a tenant's own, or that of one of its tools.
type Endpoint = (TenantName, Option<Name>);

/// Lists of all endpoints that were asked for.
#[derive(Default)]
pub(super) struct Listings {
    kept: RwLock<HashMap<Endpoint, Arc<Listing>>>,
}

impl Listings {
    /// What an endpoint offers now.
    pub(super) fn get(
        &self,
        directory: &Directory,
        tenant: &TenantName,
        only: Option<&Name>,
    ) -> Arc<Listing> {
        let key = (tenant.clone(), only.cloned());
        if let Some(listing) = self.kept.read().get(&key)
            && listing.is_current()
        {
            return listing.clone();
        }
        let listing = Arc::new(Listing::make(directory, tenant, only));
        // An empty list costs nothing to make, and its tenant may be somebody's invention.
        if !listing.tools.is_empty() {
            let mut kept = self.kept.write();
            if kept.len() >= KEPT && !kept.contains_key(&key) {
                kept.clear();
            }
            kept.insert(key, listing.clone());
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(names: &[&str]) -> Listing {
        let tools: Vec<_> = names
            .iter()
            .map(|name| Tool::new((*name).to_owned(), "", Map::new()))
            .collect();
        Listing {
            tools,
            by_name: HashMap::new(),
            changes: watch::Sender::new(0).subscribe(),
        }
    }

    #[test]
    fn pages_follow_names_so_that_changes_between_them_do_no_harm() {
        let all = listing(&["a", "b", "c"]);
        let names = |page: &[Tool]| page.iter().map(|t| t.name.to_string()).collect::<Vec<_>>();
        let (page, more) = all.page(&Visible::All, None, 2);
        assert_eq!(
            (names(&page), more),
            (vec!["a".to_owned(), "b".to_owned()], true)
        );
        let (page, more) = all.page(&Visible::All, Some("b"), 2);
        assert_eq!((names(&page), more), (vec!["c".to_owned()], false));
        let fewer = listing(&["a", "c"]);
        let (page, more) = fewer.page(&Visible::All, Some("b"), 2);
        assert_eq!((names(&page), more), (vec!["c".to_owned()], false));
        assert!(all.page(&Visible::All, Some("z"), 2).0.is_empty());
    }

    #[test]
    fn a_function_without_description_is_described_by_its_tool() {
        let described = |own: &str, of_tool: &str| {
            let function = FunctionSummary {
                name: "f".parse().unwrap(),
                description: own.into(),
                input_schema: Arc::default(),
                output_schema: None,
            };
            describe("t_f".to_owned(), function, of_tool).description
        };
        assert_eq!(described("own", "tool").as_deref(), Some("own"));
        assert_eq!(described("", "tool").as_deref(), Some("tool"));
        assert_eq!(described("", ""), None);
    }

    #[test]
    fn a_schema_that_wants_headers_is_noticed() {
        let with = json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } });
        let without = json!({ "properties": { "a": { "type": "string" } } });
        assert!(mentions_header(with.as_object().unwrap()));
        assert!(!mentions_header(without.as_object().unwrap()));
    }
}
