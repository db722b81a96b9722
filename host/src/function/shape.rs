//! Shapes: the WIT types of functions, reduced to what schemas and codecs need.

use serde::{Deserialize, Serialize};

/// Doc comment of a type, field, case or flag.
pub(super) type Doc = Option<Box<str>>;

/// A WIT identifier: kebab-case in components, with `_` for `-` in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Label {
    wit: Box<str>,
    /// Only where it differs.
    json: Option<Box<str>>,
}

impl Label {
    /// As the component writes it.
    pub fn wit(&self) -> &str {
        &self.wit
    }

    /// As JSON has it.
    pub fn json(&self) -> &str {
        self.json.as_deref().unwrap_or(&self.wit)
    }
}

impl From<String> for Label {
    fn from(wit: String) -> Self {
        let json = wit.contains('-').then(|| wit.replace('-', "_").into());
        Self {
            wit: wit.into(),
            json,
        }
    }
}

impl From<&str> for Label {
    fn from(wit: &str) -> Self {
        wit.to_owned().into()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.wit.into()
    }
}

/// Something that has a [`Label`].
pub trait Labeled {
    /// The label.
    fn label(&self) -> &Label;
}

/// Items found by their JSON name: cases of a variant or enum, and flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<T>", into = "Vec<T>")]
#[serde(bound(
    serialize = "T: Serialize + Clone",
    deserialize = "T: Deserialize<'de> + Labeled"
))]
pub struct Keyed<T> {
    items: Vec<T>,
    /// Indices of `items` in the order of their JSON names.
    order: Box<[u32]>,
}

impl<T: Labeled> Keyed<T> {
    /// Index and item of that JSON name.
    pub fn get(&self, json: &str) -> Option<(usize, &T)> {
        let name = |index: &u32| self.items[*index as usize].label().json();
        let found = self.order.binary_search_by(|index| name(index).cmp(json));
        let index = self.order[found.ok()?] as usize;
        Some((index, &self.items[index]))
    }

    /// Item of that WIT name.
    pub fn by_wit(&self, wit: &str) -> Option<&T> {
        // WIT names never contain `_`, so that mapping `-` to `_` keeps them apart.
        match wit.contains('-') {
            true => Some(self.get(&wit.replace('-', "_"))?.1),
            false => Some(self.get(wit)?.1),
        }
    }
}

impl<T> Keyed<T> {
    /// All of them, in the order of the WIT.
    pub fn items(&self) -> &[T] {
        &self.items
    }
}

impl<T: Labeled> From<Vec<T>> for Keyed<T> {
    fn from(items: Vec<T>) -> Self {
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut order: Box<[u32]> = (0..count).collect();
        order.sort_by_key(|index| items[*index as usize].label().json());
        Self { items, order }
    }
}

impl<T> From<Keyed<T>> for Vec<T> {
    fn from(keyed: Keyed<T>) -> Self {
        keyed.items
    }
}

/// A WIT value type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<u8>`
    Bytes,
    /// `list<T>` of anything but `u8`.
    List(Box<Shape>),
    /// `tuple`
    Tuple(Vec<Shape>),
    /// `record`
    Record(Record),
    /// `variant`
    Variant(Variant),
    /// `enum`
    Enum(Enum),
    /// `flags`
    Flags(Flags),
    /// `option`
    Option(Box<Shape>),
    /// `result`, other than as what a function returns.
    Result(Box<Outcome>),
}

impl Shape {
    /// Whether a field of this type may be left out.
    pub fn is_option(&self) -> bool {
        matches!(self, Shape::Option(_))
    }
}

/// What a `result` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// On success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Shape>,
    /// On failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<Shape>,
}

/// A `record`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// Fields in the order of the WIT.
    pub fields: Vec<Field>,
}

/// A field of a record, or a parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Name.
    pub name: Label,
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// Type.
    pub shape: Shape,
}

/// A `variant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// Cases.
    pub cases: Keyed<Case>,
}

/// A case of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Name.
    pub name: Label,
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
}

/// An `enum`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enum {
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// Cases, without payload.
    pub cases: Keyed<Name>,
}

/// A set of `flags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
    /// Flags.
    pub flags: Keyed<Name>,
}

/// A case of an enum, or a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Name.
    pub name: Label,
    /// Doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Doc,
}

impl Labeled for Case {
    fn label(&self) -> &Label {
        &self.name
    }
}

impl Labeled for Name {
    fn label(&self) -> &Label {
        &self.name
    }
}
