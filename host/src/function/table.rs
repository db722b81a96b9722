//! The functions of a component.

use std::sync::Arc;

use ringfence_api::FunctionName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;
use super::shape::{Field, Shape};

/// Where a component exports a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExportPath {
    /// Name of the exported interface, for example `example:text/search@1.0.0`; none where the world
    /// itself exports the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
    /// WIT name of the function.
    pub function: String,
}

impl std::fmt::Display for ExportPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}#{}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// What a function gives back on success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Nothing.
    Nothing,
    /// A value; JSON.
    Value(Shape),
    /// A `ringfence:agent/types.part`.
    Part,
    /// A list of them.
    Parts,
}

/// What a function gives back on failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's type, where it carries a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
}

/// What a function returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// On success.
    pub ok: Output,
    /// Present where the WIT type is a `result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One exported function of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// Name for callers, unique in its table.
    pub name: FunctionName,
    /// Doc comments; empty where the component has none.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments: an object.
    pub input_schema: Arc<Map<String, Value>>,
    /// JSON Schema (2020-12) of [`super::FunctionResult::structured`]: an object. None where the function
    /// returns nothing or content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Arc<Map<String, Value>>>,
    /// Where the component exports it.
    pub export: ExportPath,
    /// Parameters in order.
    pub params: Vec<Field>,
    /// What it returns.
    pub returns: Returns,
}

impl Function {
    /// A function with the schemas of its parameters and result.
    pub fn new(
        name: FunctionName,
        description: String,
        export: ExportPath,
        params: Vec<Field>,
        returns: Returns,
    ) -> Self {
        Self {
            name,
            description,
            input_schema: Arc::new(schema::arguments(&params)),
            output_schema: schema::structured(&returns.ok).map(Arc::new),
            export,
            params,
            returns,
        }
    }

    /// Whether what it returns is binary data: bytes or content, and not bytes somewhere within a value.
    pub(crate) fn returns_binary(&self) -> bool {
        match &self.returns.ok {
            Output::Part | Output::Parts | Output::Value(Shape::Bytes) => true,
            Output::Value(Shape::Option(inner)) => **inner == Shape::Bytes,
            Output::Nothing | Output::Value(_) => false,
        }
    }

    /// Values that the component returns: one, or none.
    pub(crate) fn result_count(&self) -> usize {
        usize::from(self.returns.ok != Output::Nothing || self.returns.failure.is_some())
    }
}

/// The exported functions of a component, in the order of its exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FunctionTable {
    functions: Vec<Arc<Function>>,
}

impl FunctionTable {
    /// The function of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.iter().find(|f| f.name.as_str() == name)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Function>> {
        self.functions.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }
}

impl FromIterator<Function> for FunctionTable {
    fn from_iter<T: IntoIterator<Item = Function>>(functions: T) -> Self {
        Self {
            functions: functions.into_iter().map(Arc::new).collect(),
        }
    }
}
