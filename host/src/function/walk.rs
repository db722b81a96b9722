//! The one walk over a component's WIT types.

use std::collections::HashMap;
use std::sync::Arc;

use ringfence_api::FunctionName;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentItem, ComponentValType,
};
use wasmparser::types::Types;

use super::bounds::{
    MAX_FUNCTIONS, MAX_SHAPE_DEPTH, MAX_SHAPE_NODES, MAX_TABLE_NODES, NODE_TEXT_BYTES,
};
use super::docs::{Docs, TypeDocs};
use super::name;
use super::part::is_part;
use super::shape::{Case, Enum, Field, Flags, Name, Outcome, Record, Shape, Variant};
use super::table::{ExportPath, Failure, Function, FunctionTable, Output, Returns};

/// Why the exports of a component cannot be functions of a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A type that JSON has nothing for.
    #[error(
        "function {export}: {place} has the type `{found}`, which cannot be given as JSON; use records, lists, variants and other plain values"
    )]
    Unsupported {
        /// The function.
        export: String,
        /// Where in its type.
        place: String,
        /// The type.
        found: String,
    },
    /// A function of a resource.
    #[error(
        "{export} belongs to a resource, which lives longer than a call and so cannot be offered as a function; export plain functions"
    )]
    Resource {
        /// The function.
        export: String,
    },
    /// A function of WASI 0.3.
    #[error("function {export} is `async`, which this host does not serve; make it a plain `func`")]
    Async {
        /// The function.
        export: String,
    },
    /// Types nested too deeply.
    #[error("function {export}: {place} nests types more than {MAX_SHAPE_DEPTH} deep")]
    TooDeep {
        /// The function.
        export: String,
        /// Where in its type.
        place: String,
    },
    /// A type that is too large.
    #[error(
        "function {export} has more than {MAX_SHAPE_NODES} types, fields and cases, each counted wherever it is used, with their names and docs"
    )]
    TooLarge {
        /// The function.
        export: String,
    },
    /// All types together are too large.
    #[error(
        "the exported functions have more than {MAX_TABLE_NODES} types, fields and cases, each counted wherever it is used, with their names and docs"
    )]
    TableTooLarge,
    /// Too many functions.
    #[error("exports {count} functions; at most {MAX_FUNCTIONS} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A name that is too long.
    #[error(
        "{export} would be called {name:?}, which is longer than 64 characters; shorten the names of the interface or function"
    )]
    LongName {
        /// The function.
        export: String,
        /// Its name.
        name: String,
    },
    /// Two functions of one name.
    #[error("{first} and {second} would both be called {name:?}; export one of them, or rename it")]
    SameName {
        /// The name.
        name: String,
        /// The one function.
        first: String,
        /// The other.
        second: String,
    },
}

/// The functions that a component exports: everything but `wasi:*` and `ringfence:*`.
///
/// `imports` and `exports` are those of the component itself, in its order.
///
/// # Errors
/// Where one of them cannot be offered; the message says which, why and what to do.
pub fn walk(
    types: &Types,
    imports: &[(String, ComponentItem)],
    exports: &[(String, ComponentItem)],
    docs: &Docs,
) -> Result<FunctionTable, WalkError> {
    let mut found = Vec::new();
    for (name, item) in exports {
        match item.ty {
            ComponentEntityType::Func(id) => found.push((path(None, name), id)),
            ComponentEntityType::Instance(instance) if !is_contract(name) => {
                let interface: Arc<str> = name.as_str().into();
                for (function, item) in &types[instance].exports {
                    if let ComponentEntityType::Func(id) = item.ty {
                        found.push((path(Some(&interface), function), id));
                    }
                }
            }
            _ => {}
        }
    }
    if found.len() > MAX_FUNCTIONS {
        return Err(WalkError::TooMany { count: found.len() });
    }
    let paths: Vec<_> = found.iter().map(|(path, _)| path.clone()).collect();
    for path in &paths {
        // `[method]r.f` and the like.
        if path.function.starts_with('[') {
            let export = path.to_string();
            return Err(WalkError::Resource { export });
        }
    }
    let names = name::assign(&paths)?;
    let named = named_types(types, imports, exports);
    let uses_parts = uses_parts(types, imports);
    let mut table_nodes = 0;
    let mut functions = Vec::with_capacity(found.len());
    for ((path, id), name) in found.into_iter().zip(names) {
        let alone = paths
            .iter()
            .filter(|other| other.interface == path.interface)
            .count()
            == 1;
        let mut walker = Walker {
            types,
            docs,
            named: &named,
            path: &path,
            uses_parts,
            place: Vec::new(),
            nodes: 0,
        };
        let function = walker.function(name, id, alone)?;
        table_nodes += walker.nodes;
        if table_nodes > MAX_TABLE_NODES {
            return Err(WalkError::TableTooLarge);
        }
        functions.push(function);
    }
    Ok(functions.into_iter().collect())
}

fn path(interface: Option<&Arc<str>>, function: &str) -> ExportPath {
    ExportPath {
        interface: interface.cloned(),
        function: function.to_owned(),
    }
}

/// Exports that the host calls by a contract of their own.
fn is_contract(interface: &str) -> bool {
    interface.starts_with("wasi:") || interface.starts_with("ringfence:")
}

/// Whether a component uses `part` of `ringfence:agent/types@0.1.x`, and so imports it. Which of its types
/// that is can only be told by their structure: encoders give an exported interface copies of the types
/// that it uses, without a link to the interface that defines them.
fn uses_parts(types: &Types, imports: &[(String, ComponentItem)]) -> bool {
    imports.iter().any(|(name, item)| match item.ty {
        ComponentEntityType::Instance(instance) => {
            name.starts_with("ringfence:agent/types@0.1.")
                && types[instance].exports.contains_key("part")
        }
        _ => false,
    })
}

/// Where a type got its name.
struct TypeName {
    /// The interface; none where the component itself imports or exports the type.
    interface: Option<Arc<str>>,
    name: String,
}

type NamedTypes = HashMap<ComponentDefinedTypeId, TypeName>;

/// The names of all named types. A type that is used elsewhere keeps the name of the interface that
/// defines it, since imports come first.
fn named_types(
    types: &Types,
    imports: &[(String, ComponentItem)],
    exports: &[(String, ComponentItem)],
) -> NamedTypes {
    let mut named = NamedTypes::new();
    let mut add = |interface: Option<&Arc<str>>, name: &str, item: &ComponentItem| {
        let ComponentEntityType::Type {
            created: ComponentAnyTypeId::Defined(id),
            ..
        } = item.ty
        else {
            return;
        };
        for id in std::iter::successors(Some(id), |id| types.peel_alias(*id)) {
            named.entry(id).or_insert_with(|| TypeName {
                interface: interface.cloned(),
                name: name.to_owned(),
            });
        }
    };
    for (name, item) in imports.iter().chain(exports) {
        if let ComponentEntityType::Instance(instance) = item.ty {
            let interface: Arc<str> = name.as_str().into();
            for (name, item) in &types[instance].exports {
                add(Some(&interface), name, item);
            }
        } else {
            add(None, name, item);
        }
    }
    named
}

fn length(doc: Option<&str>) -> usize {
    doc.map_or(0, str::len)
}

/// Walks the type of one function.
struct Walker<'a> {
    types: &'a Types,
    docs: &'a Docs,
    named: &'a NamedTypes,
    path: &'a ExportPath,
    /// Whether the component uses `part` of the contract.
    uses_parts: bool,
    /// From the parameter or result to the type at hand.
    place: Vec<String>,
    nodes: usize,
}

impl<'a> Walker<'a> {
    fn function(
        &mut self,
        name: FunctionName,
        id: ComponentFuncTypeId,
        alone: bool,
    ) -> Result<Function, WalkError> {
        let types = self.types;
        let of = &types[id];
        if of.async_ {
            let export = self.path.to_string();
            return Err(WalkError::Async { export });
        }
        let mut params = Vec::with_capacity(of.params.len());
        for (name, ty) in &of.params {
            self.count(name.as_str().len())?;
            params.push(self.field(name.as_str(), *ty, None, "parameter")?);
        }
        let returns = self.within("its result".to_owned(), |walker| walker.returns(of.result))?;
        let description = self.description(alone);
        self.count(description.len())?;
        Ok(Function::new(
            name,
            description,
            self.path.clone(),
            params,
            returns,
        ))
    }

    /// The docs of the function; those of its interface too where it is the only function there.
    fn description(&self, alone: bool) -> String {
        let interface = self.path.interface.as_deref();
        let function = self.docs.function(interface, &self.path.function);
        let of_interface = interface
            .filter(|_| alone)
            .and_then(|name| self.docs.interface(name));
        let texts: Vec<Box<str>> = function.into_iter().chain(of_interface).collect();
        texts.join("\n\n")
    }

    fn returns(&mut self, result: Option<ComponentValType>) -> Result<Returns, WalkError> {
        let types = self.types;
        if let Some(ComponentValType::Type(id)) = result
            && let ComponentDefinedType::Result { ok, err, .. } = &types[id]
        {
            let ok = self.output(*ok)?;
            let shape = self.payload(*err, "err")?;
            let failure = Some(Failure { shape });
            return Ok(Returns { ok, failure });
        }
        let ok = self.output(result)?;
        Ok(Returns { ok, failure: None })
    }

    fn output(&mut self, ty: Option<ComponentValType>) -> Result<Output, WalkError> {
        let Some(ty) = ty else {
            return Ok(Output::Nothing);
        };
        Ok(match self.shape(ty)? {
            shape if self.uses_parts && is_part(&shape) => Output::Part,
            Shape::List(item) if self.uses_parts && is_part(&item) => Output::Parts,
            shape => Output::Value(shape),
        })
    }

    fn name_of(&self, ty: ComponentValType) -> Option<&'a TypeName> {
        let ComponentValType::Type(id) = ty else {
            return None;
        };
        let (types, named) = (self.types, self.named);
        std::iter::successors(Some(id), |id| types.peel_alias(*id)).find_map(|id| named.get(&id))
    }

    fn docs_of(&self, ty: ComponentValType) -> Option<&'a TypeDocs> {
        let name = self.name_of(ty)?;
        self.docs.of_type(name.interface.as_deref(), &name.name)
    }

    /// Takes note of a type, field, case or flag, and of the text that comes with it.
    fn count(&mut self, text: usize) -> Result<(), WalkError> {
        self.nodes = self.nodes.saturating_add(1 + text / NODE_TEXT_BYTES);
        if self.nodes > MAX_SHAPE_NODES {
            let export = self.path.to_string();
            return Err(WalkError::TooLarge { export });
        }
        Ok(())
    }

    fn within<T>(
        &mut self,
        place: String,
        walk: impl FnOnce(&mut Self) -> Result<T, WalkError>,
    ) -> Result<T, WalkError> {
        self.place.push(place);
        let result = walk(self);
        self.place.pop();
        result
    }

    /// "parameter `a`, field `b`".
    fn place(&self) -> String {
        self.place.join(", ")
    }

    fn unsupported<T>(&self, found: &str) -> Result<T, WalkError> {
        Err(WalkError::Unsupported {
            export: self.path.to_string(),
            place: self.place(),
            found: found.to_owned(),
        })
    }

    fn field(
        &mut self,
        name: &str,
        ty: ComponentValType,
        doc: Option<Box<str>>,
        kind: &str,
    ) -> Result<Field, WalkError> {
        let shape = self.within(format!("{kind} `{name}`"), |walker| walker.shape(ty))?;
        // The type's own docs stand in the schema of records and such already.
        let has_own = matches!(
            shape,
            Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) | Shape::Flags(_)
        );
        let of_type = if has_own {
            None
        } else {
            self.docs_of(ty).and_then(TypeDocs::text)
        };
        Ok(Field {
            name: name.into(),
            doc: doc.or(of_type),
            shape,
        })
    }

    fn payload(
        &mut self,
        ty: Option<ComponentValType>,
        place: &str,
    ) -> Result<Option<Shape>, WalkError> {
        match ty {
            Some(ty) => self
                .within(place.to_owned(), |walker| walker.shape(ty))
                .map(Some),
            None => Ok(None),
        }
    }

    fn shape(&mut self, ty: ComponentValType) -> Result<Shape, WalkError> {
        let doc = self.docs_of(ty).and_then(TypeDocs::text);
        self.count(length(doc.as_deref()))?;
        if self.place.len() > MAX_SHAPE_DEPTH {
            let (export, place) = (self.path.to_string(), self.place());
            return Err(WalkError::TooDeep { export, place });
        }
        let id = match ty {
            ComponentValType::Primitive(primitive) => return self.primitive(primitive),
            ComponentValType::Type(id) => id,
        };
        let types = self.types;
        let docs = self.docs_of(ty);
        let item_doc = |name: &str| docs.and_then(|docs| docs.item(name));
        Ok(match &types[id] {
            ComponentDefinedType::Primitive(primitive) => self.primitive(*primitive)?,
            ComponentDefinedType::Record(record) => {
                let mut fields = Vec::with_capacity(record.fields.len().min(MAX_SHAPE_NODES));
                for (name, ty) in &record.fields {
                    let (name, doc) = (name.as_str(), item_doc(name.as_str()));
                    self.count(name.len() + length(doc.as_deref()))?;
                    fields.push(self.field(name, *ty, doc, "field")?);
                }
                Shape::Record(Record { doc, fields })
            }
            ComponentDefinedType::Variant(variant) => {
                let mut cases = Vec::with_capacity(variant.cases.len().min(MAX_SHAPE_NODES));
                for (name, case) in &variant.cases {
                    let (name, doc) = (name.as_str(), item_doc(name.as_str()));
                    self.count(name.len() + length(doc.as_deref()))?;
                    let shape = self.payload(case.ty, &format!("case `{name}`"))?;
                    let name = name.into();
                    cases.push(Case { name, doc, shape });
                }
                Shape::Variant(Variant {
                    doc,
                    cases: cases.into(),
                })
            }
            ComponentDefinedType::List { element, .. } => {
                let item = self.within("items".to_owned(), |walker| walker.shape(*element))?;
                match item {
                    Shape::U8 => Shape::Bytes,
                    item => Shape::List(Box::new(item)),
                }
            }
            ComponentDefinedType::Tuple(tuple) => {
                let mut items = Vec::with_capacity(tuple.types.len().min(MAX_SHAPE_NODES));
                for (index, ty) in tuple.types.iter().enumerate() {
                    let item = |walker: &mut Self| walker.shape(*ty);
                    items.push(self.within(format!("item {index}"), item)?);
                }
                Shape::Tuple(items)
            }
            ComponentDefinedType::Flags(names) => Shape::Flags(Flags {
                doc,
                flags: self
                    .names(names.iter().map(|name| name.as_str()), item_doc)?
                    .into(),
            }),
            ComponentDefinedType::Enum(names) => Shape::Enum(Enum {
                doc,
                cases: self
                    .names(names.iter().map(|name| name.as_str()), item_doc)?
                    .into(),
            }),
            ComponentDefinedType::Option { ty, .. } => {
                let inner = self.within("option".to_owned(), |walker| walker.shape(*ty))?;
                Shape::Option(Box::new(inner))
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                let ok = self.payload(*ok, "ok")?;
                let err = self.payload(*err, "err")?;
                Shape::Result(Box::new(Outcome { ok, err }))
            }
            ComponentDefinedType::Own(_) => self.unsupported("own<resource>")?,
            ComponentDefinedType::Borrow(_) => self.unsupported("borrow<resource>")?,
            ComponentDefinedType::Future { .. } => self.unsupported("future")?,
            ComponentDefinedType::Stream { .. } => self.unsupported("stream")?,
            ComponentDefinedType::Map { .. } => self.unsupported("map")?,
            ComponentDefinedType::FixedLengthList { .. } => {
                self.unsupported("fixed-length list")?
            }
        })
    }

    fn names(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        doc: impl Fn(&str) -> Option<Box<str>>,
    ) -> Result<Vec<Name>, WalkError> {
        let mut list = Vec::new();
        for name in names {
            let doc = doc(name);
            self.count(name.len() + length(doc.as_deref()))?;
            let name = name.into();
            list.push(Name { name, doc });
        }
        Ok(list)
    }

    fn primitive(&self, primitive: PrimitiveValType) -> Result<Shape, WalkError> {
        Ok(match primitive {
            PrimitiveValType::Bool => Shape::Bool,
            PrimitiveValType::S8 => Shape::S8,
            PrimitiveValType::U8 => Shape::U8,
            PrimitiveValType::S16 => Shape::S16,
            PrimitiveValType::U16 => Shape::U16,
            PrimitiveValType::S32 => Shape::S32,
            PrimitiveValType::U32 => Shape::U32,
            PrimitiveValType::S64 => Shape::S64,
            PrimitiveValType::U64 => Shape::U64,
            PrimitiveValType::F32 => Shape::F32,
            PrimitiveValType::F64 => Shape::F64,
            PrimitiveValType::Char => Shape::Char,
            PrimitiveValType::String => Shape::String,
            PrimitiveValType::ErrorContext => self.unsupported("error-context")?,
        })
    }
}
