//! JSON to component values.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use wasmtime::component::Val;

use super::bounds::MAX_VALUE_BYTES;
use super::error::{CodecError, Fault, one_of};
use super::shape::{Field, Flags, Outcome, Shape, Variant};
use super::table::Function;

/// RFC 4648 base64; padding may be there or not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Integers that a JSON number with a fraction or an exponent may stand for.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_991.0;

/// The arguments of a call, in the order of the function's parameters.
///
/// # Errors
/// Where `arguments` do not fit the function's input schema, with the place; also where they take more
/// than [`MAX_VALUE_BYTES`].
pub fn arguments_to_vals(
    function: &Function,
    arguments: Map<String, Value>,
) -> Result<Vec<Val>, CodecError> {
    let mut vals = Vec::with_capacity(function.params.len());
    let mut decoder = Decoder {
        left: MAX_VALUE_BYTES,
    };
    decoder.fields(&function.params, arguments, |_, val| vals.push(val))?;
    Ok(vals)
}

struct Decoder {
    /// Bytes that component values may still take.
    left: usize,
}

impl Decoder {
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or(Fault::TooLarge {
            maximum: MAX_VALUE_BYTES,
        })?;
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<String, Fault> {
        self.take(size_of::<String>() + name.len())?;
        Ok(name.to_owned())
    }

    fn boxed(&mut self, shape: &Shape, value: Value) -> Result<Option<Box<Val>>, CodecError> {
        Ok(Some(Box::new(self.value(shape, value)?)))
    }

    fn value(&mut self, shape: &Shape, value: Value) -> Result<Val, CodecError> {
        self.take(size_of::<Val>())?;
        Ok(match shape {
            Shape::Bool => match value {
                Value::Bool(value) => Val::Bool(value),
                other => return Err(CodecError::expected("true or false", &other)),
            },
            Shape::S8 => Val::S8(small(&value, "from -128 to 127")?),
            Shape::U8 => Val::U8(small(&value, "from 0 to 255")?),
            Shape::S16 => Val::S16(small(&value, "from -32768 to 32767")?),
            Shape::U16 => Val::U16(small(&value, "from 0 to 65535")?),
            Shape::S32 => Val::S32(small(&value, "from -2147483648 to 2147483647")?),
            Shape::U32 => Val::U32(small(&value, "from 0 to 4294967295")?),
            Shape::S64 => Val::S64(long(&value, "signed")?),
            Shape::U64 => Val::U64(long(&value, "unsigned")?),
            Shape::F32 => Val::Float32(single(&value)?),
            Shape::F64 => Val::Float64(double(&value)?),
            Shape::Char => Val::Char(char(&value)?),
            Shape::String => match value {
                Value::String(text) => Val::String(text),
                other => return Err(CodecError::expected("a string", &other)),
            },
            Shape::Bytes => self.bytes(&value)?,
            Shape::List(item) => match value {
                Value::Array(values) => Val::List(self.items(values, |_| Some(item))?),
                other => return Err(CodecError::expected("an array", &other)),
            },
            Shape::Tuple(items) => match value {
                Value::Array(values) if values.len() == items.len() => {
                    Val::Tuple(self.items(values, |index| items.get(index))?)
                }
                other => {
                    let expected = format!("an array of exactly {}", items.len());
                    return Err(CodecError::expected(expected, &other));
                }
            },
            Shape::Record(record) => match value {
                Value::Object(members) => {
                    let mut fields = Vec::with_capacity(record.fields.len());
                    self.fields(&record.fields, members, |name, val| {
                        fields.push((name.to_owned(), val));
                    })?;
                    Val::Record(fields)
                }
                other => return Err(CodecError::expected("an object", &other)),
            },
            Shape::Variant(variant) => self.variant(variant, value)?,
            Shape::Enum(of) => match value.as_str().and_then(|name| of.cases.get(name)) {
                Some((_, case)) => Val::Enum(self.name(case.name.wit())?),
                None => {
                    let names = of.cases.items().iter().map(|case| case.name.json());
                    return Err(CodecError::expected(one_of(names), &value));
                }
            },
            Shape::Flags(flags) => self.flags(flags, value)?,
            Shape::Option(_) if value.is_null() => Val::Option(None),
            Shape::Option(inner) if inner.is_option() => {
                let [some] = one_member(value, ["some"])?;
                let inner = self.boxed(inner, some.unwrap_or(Value::Null));
                Val::Option(inner.map_err(|error| error.key("some"))?)
            }
            Shape::Option(inner) => Val::Option(self.boxed(inner, value)?),
            Shape::Result(outcome) => self.result(outcome, value)?,
        })
    }

    fn items<'a>(
        &mut self,
        values: Vec<Value>,
        shape: impl Fn(usize) -> Option<&'a Shape>,
    ) -> Result<Vec<Val>, CodecError> {
        let mut vals = Vec::with_capacity(values.len().min(self.left / size_of::<Val>()));
        for (index, value) in values.into_iter().enumerate() {
            let Some(shape) = shape(index) else { break };
            vals.push(
                self.value(shape, value)
                    .map_err(|error| error.index(index))?,
            );
        }
        Ok(vals)
    }

    /// Members of an object by name; what is left over is unknown.
    fn fields(
        &mut self,
        fields: &[Field],
        mut members: Map<String, Value>,
        mut push: impl FnMut(&str, Val),
    ) -> Result<(), CodecError> {
        for field in fields {
            self.take(size_of::<String>() + field.name.wit().len())?;
            let key = field.name.json();
            let val = match members.remove(key) {
                Some(value) => self
                    .value(&field.shape, value)
                    .map_err(|error| error.key(key))?,
                None if field.shape.is_option() => {
                    self.take(size_of::<Val>())?;
                    Val::Option(None)
                }
                None => {
                    let expected = describe(&field.shape).into();
                    return Err(CodecError::from(Fault::Missing { expected }).key(key));
                }
            };
            push(field.name.wit(), val);
        }
        match members.keys().next() {
            None => Ok(()),
            Some(key) => {
                let expected = one_of(fields.iter().map(|field| field.name.json()));
                Err(CodecError::from(Fault::Unknown { expected }).key(shortened(key)))
            }
        }
    }

    fn bytes(&mut self, value: &Value) -> Result<Val, CodecError> {
        const EXPECTED: &str = "a base64 string";
        let Value::String(text) = value else {
            return Err(CodecError::expected(EXPECTED, value));
        };
        self.take((text.len() / 4 * 3).saturating_mul(size_of::<Val>()))?;
        let bytes = BASE64
            .decode(text)
            .map_err(|_| CodecError::expected(EXPECTED, value))?;
        Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
    }

    fn variant(&mut self, variant: &Variant, value: Value) -> Result<Val, CodecError> {
        const EXPECTED: &str = "an object with `tag`";
        let Value::Object(mut members) = value else {
            return Err(CodecError::expected(EXPECTED, &value));
        };
        let names = || one_of(variant.cases.items().iter().map(|case| case.name.json()));
        let Some(tag) = members.remove("tag") else {
            let expected = names().into();
            return Err(CodecError::from(Fault::Missing { expected }).key("tag"));
        };
        let Some((_, case)) = tag.as_str().and_then(|tag| variant.cases.get(tag)) else {
            return Err(CodecError::expected(names(), &tag).key("tag"));
        };
        let payload = match (&case.shape, members.remove("value")) {
            (None, None | Some(Value::Null)) => None,
            (None, Some(other)) => {
                let expected = format!("no value with `{}`", case.name.json());
                return Err(CodecError::expected(expected, &other).key("value"));
            }
            (Some(shape), None) if !shape.is_option() => {
                let expected = describe(shape).into();
                return Err(CodecError::from(Fault::Missing { expected }).key("value"));
            }
            (Some(shape), value) => self
                .boxed(shape, value.unwrap_or(Value::Null))
                .map_err(|error| error.key("value"))?,
        };
        if let Some(key) = members.keys().next() {
            let expected = "`tag` and `value`".to_owned();
            return Err(CodecError::from(Fault::Unknown { expected }).key(shortened(key)));
        }
        Ok(Val::Variant(self.name(case.name.wit())?, payload))
    }

    fn flags(&mut self, flags: &Flags, value: Value) -> Result<Val, CodecError> {
        let known = flags.flags.items();
        let Value::Array(values) = value else {
            return Err(CodecError::expected("an array of flags", &value));
        };
        let mut set = Vec::with_capacity(values.len().min(known.len()));
        for (at, value) in values.iter().enumerate() {
            let Some((index, _)) = value.as_str().and_then(|name| flags.flags.get(name)) else {
                let names = one_of(known.iter().map(|flag| flag.name.json()));
                return Err(CodecError::expected(names, value).index(at));
            };
            // Each flag at most once keeps `set` as small as the type, however long the array is.
            if let Err(place) = set.binary_search(&index) {
                set.insert(place, index);
            } else {
                return Err(CodecError::expected("each flag at most once", value).index(at));
            }
        }
        let names = set
            .into_iter()
            .map(|index| self.name(known[index].name.wit()));
        Ok(Val::Flags(names.collect::<Result<_, _>>()?))
    }

    fn result(&mut self, outcome: &Outcome, value: Value) -> Result<Val, CodecError> {
        let [ok, err] = one_member(value, ["ok", "err"])?;
        let mut payload = |key: &str, shape: &Option<Shape>, value: Value| match shape {
            Some(shape) => self.boxed(shape, value).map_err(|error| error.key(key)),
            None if value.is_null() => Ok(None),
            None => Err(CodecError::expected("null", &value).key(key)),
        };
        Ok(Val::Result(match (ok, err) {
            (Some(ok), _) => Ok(payload("ok", &outcome.ok, ok)?),
            (None, err) => Err(payload("err", &outcome.err, err.unwrap_or(Value::Null))?),
        }))
    }
}

/// The members `keys` of an object that has exactly one, and that is one of them.
fn one_member<const N: usize>(
    value: Value,
    keys: [&str; N],
) -> Result<[Option<Value>; N], CodecError> {
    let list = keys.map(|key| format!("`{key}`")).join(" or ");
    match value {
        Value::Object(mut members)
            if members.len() == 1 && keys.iter().any(|key| members.contains_key(*key)) =>
        {
            Ok(keys.map(|key| members.remove(key)))
        }
        other => Err(CodecError::expected(
            format!("an object with just {list}"),
            &other,
        )),
    }
}

/// An unknown key, which can be as long as the input, for an error.
fn shortened(key: &str) -> &str {
    match key.char_indices().nth(64) {
        Some((end, _)) => &key[..end],
        None => key,
    }
}

fn whole(value: &Value) -> Option<i128> {
    let Value::Number(number) = value else {
        return None;
    };
    if let Some(n) = number.as_i64() {
        return Some(n.into());
    }
    if let Some(n) = number.as_u64() {
        return Some(n.into());
    }
    // JSON Schema counts 5.0 and 5e0 as integers.
    let n = number.as_f64()?;
    #[allow(clippy::cast_possible_truncation)] // whole and within ±2^53
    (n.fract() == 0.0 && n.abs() <= MAX_EXACT_FLOAT).then_some(n as i128)
}

fn small<T: TryFrom<i128>>(value: &Value, range: &'static str) -> Result<T, CodecError> {
    whole(value)
        .and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| CodecError::expected(format!("an integer {range}"), value))
}

fn long<T: TryFrom<i128>>(value: &Value, sign: &str) -> Result<T, CodecError> {
    let number = match value {
        Value::String(text) => digits(text),
        other => whole(other),
    };
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| {
        let expected = format!("a {sign} 64-bit integer, or one as a string of decimal digits");
        CodecError::expected(expected, value)
    })
}

/// As the schema's pattern says: digits with an optional minus.
fn digits(text: &str) -> Option<i128> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let fits = (1..=20).contains(&magnitude.len());
    let plain = fits && magnitude.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

const FLOAT: &str = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";

fn double(value: &Value) -> Result<f64, CodecError> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| CodecError::expected(FLOAT, value))
}

fn single(value: &Value) -> Result<f32, CodecError> {
    let wide = double(value)?;
    #[allow(clippy::cast_possible_truncation)] // rounds to the nearest, as the type says
    let narrow = wide as f32;
    if narrow.is_infinite() && wide.is_finite() {
        return Err(CodecError::expected(
            "a number that a 32-bit float can hold",
            value,
        ));
    }
    Ok(narrow)
}

fn char(value: &Value) -> Result<char, CodecError> {
    let mut chars = value.as_str().unwrap_or_default().chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) => Ok(char),
        _ => Err(CodecError::expected("a string of one character", value)),
    }
}

/// A type in words, for what is missing.
fn describe(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "true or false",
        Shape::S8 | Shape::U8 | Shape::S16 | Shape::U16 | Shape::S32 | Shape::U32 => "an integer",
        Shape::S64 | Shape::U64 => "a 64-bit integer",
        Shape::F32 | Shape::F64 => "a number",
        Shape::Char => "a string of one character",
        Shape::String | Shape::Enum(_) => "a string",
        Shape::Bytes => "a base64 string",
        Shape::List(_) | Shape::Tuple(_) | Shape::Flags(_) => "an array",
        Shape::Record(_) => "an object",
        Shape::Variant(_) => "an object with `tag`",
        Shape::Option(_) => "a value or null",
        Shape::Result(_) => "an object with `ok` or `err`",
    }
}
