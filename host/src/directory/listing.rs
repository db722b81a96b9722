//! Functions as lists show them.

use std::sync::Arc;

use ringfence_api::FunctionName;
use serde_json::{Map, Value};

use super::instance::{Instance, Provider};
use crate::artifact::inspect::{Inspection, Kind as ComponentKind};
use crate::function::{self, Function};
use crate::mcp_client::RemoteFunction;

/// One function of a tool. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSummary {
    /// Its name within the tool.
    pub name: FunctionName,
    /// What it does.
    pub description: Arc<str>,
    /// JSON Schema of its arguments, an object.
    pub input_schema: Arc<Map<String, Value>>,
    /// JSON Schema of its structured result, an object, where it has one.
    pub output_schema: Option<Arc<Map<String, Value>>>,
}

impl From<&Arc<Function>> for FunctionSummary {
    fn from(function: &Arc<Function>) -> Self {
        Self {
            name: function.name.clone(),
            description: function.description.as_str().into(),
            input_schema: function.input_schema.clone(),
            output_schema: function.output_schema.clone(),
        }
    }
}

/// A function of an MCP server; none where its name is not one that every caller could use.
fn remote(function: &RemoteFunction) -> Option<FunctionSummary> {
    Some(FunctionSummary {
        name: function.name.parse().ok()?,
        description: function.description.as_str().into(),
        input_schema: Arc::new(function.input_schema.as_object()?.clone()),
        output_schema: function
            .output_schema
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .map(Arc::new),
    })
}

/// What an instance offers now, before descriptions of the resource replace its own.
pub(super) fn functions(instance: &Instance) -> Vec<FunctionSummary> {
    match &instance.provider {
        Provider::Component { inspection, .. } => component(inspection, &instance.description),
        Provider::Mcp(server) => server
            .changes()
            .borrow()
            .as_ref()
            .map(|functions| functions.iter().filter_map(remote).collect())
            .unwrap_or_default(),
        Provider::Agent(_) => fixed(function::ASK, function::ask_schema(), &instance.description)
            .into_iter()
            .collect(),
    }
}

fn component(inspection: &Inspection, description: &Arc<str>) -> Vec<FunctionSummary> {
    let mut functions: Vec<_> = inspection.functions.iter().map(Into::into).collect();
    let taken = inspection.functions.get(function::COMMAND).is_some();
    if inspection.is(ComponentKind::Command) && !taken {
        functions.extend(fixed(
            function::COMMAND,
            function::command_schema(),
            description,
        ));
    }
    functions
}

fn fixed(
    name: &str,
    schema: Map<String, Value>,
    description: &Arc<str>,
) -> Option<FunctionSummary> {
    Some(FunctionSummary {
        name: name.parse().ok()?,
        description: description.clone(),
        input_schema: Arc::new(schema),
        output_schema: None,
    })
}
