//! Label selectors as they are written in a query: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// Most bytes of a selector.
pub const BYTES: usize = 4_096;
/// Most conditions of a selector.
pub const CONDITIONS: usize = 64;

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It is too long.
    #[error("the label selector has more than {BYTES} bytes: shorten it")]
    Long,
    /// There are too many conditions.
    #[error("the label selector has more than {CONDITIONS} conditions: name fewer")]
    Many,
    /// Something else was expected.
    #[error("the label selector is not understood at byte {0}: write it as a=b,c!=d,e in (f,g),!h")]
    Unclear(usize),
}

/// Reads a selector. An empty one selects everything.
///
/// # Errors
/// It is none, or crosses a limit.
pub fn parse(text: &str) -> Result<Selector, SelectorError> {
    if text.len() > BYTES {
        return Err(SelectorError::Long);
    }
    let mut reader = Reader { text, at: 0 };
    let mut conditions = Vec::new();
    if !reader.at_end() {
        loop {
            if conditions.len() == CONDITIONS {
                return Err(SelectorError::Many);
            }
            conditions.push(reader.condition()?);
            if reader.at_end() {
                break;
            }
            reader.expect(",")?;
        }
    }
    Ok(conditions.into_iter().collect())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    /// Takes what comes next, if it is this.
    fn take(&mut self, what: &str) -> bool {
        self.skip_blanks();
        let is_next = self.text[self.at..].starts_with(what);
        if is_next {
            self.at += what.len();
        }
        is_next
    }

    fn expect(&mut self, what: &str) -> Result<(), SelectorError> {
        match self.take(what) {
            true => Ok(()),
            false => Err(SelectorError::Unclear(self.at)),
        }
    }

    /// A key, a value or an operator; empty where there is none.
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        match self.word() {
            "" => Err(SelectorError::Unclear(self.at)),
            key => Ok(key.to_owned()),
        }
    }

    fn condition(&mut self) -> Result<Expression, SelectorError> {
        if self.take("!") {
            return self.key().map(Expression::DoesNotExist);
        }
        let key = self.key()?;
        if self.take("!=") {
            return Ok(Expression::NotEqual(key, self.word().to_owned()));
        }
        if self.take("==") || self.take("=") {
            return Ok(Expression::Equal(key, self.word().to_owned()));
        }
        let before = self.at;
        match self.word() {
            "" => Ok(Expression::Exists(key)),
            "in" => Ok(Expression::In(key, self.values()?)),
            "notin" => Ok(Expression::NotIn(key, self.values()?)),
            _ => Err(SelectorError::Unclear(before)),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.expect("(")?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.word().to_owned());
            if self.take(")") {
                return Ok(values);
            }
            self.expect(",")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt as _;

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let labels: BTreeMap<String, String> = labels.collect();
        parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let host = [
            ("app.kubernetes.io/name", "ringfence"),
            ("ringfence.dev/pool", "red"),
        ];
        for (selector, expected) in [
            ("", true),
            ("  ", true),
            (
                "app.kubernetes.io/name=ringfence,ringfence.dev/pool=red",
                true,
            ),
            (
                "app.kubernetes.io/name=ringfence,ringfence.dev/pool=blue",
                false,
            ),
            ("ringfence.dev/pool == red", true),
            ("ringfence.dev/pool!=red", false),
            ("zone!=west", true),
            ("ringfence.dev/pool in (blue, red)", true),
            ("ringfence.dev/pool notin (blue,red)", false),
            ("zone notin (west)", true),
            ("zone", false),
            ("ringfence.dev/pool", true),
            ("!zone , ringfence.dev/pool", true),
            ("!ringfence.dev/pool", false),
            ("ringfence.dev/pool=", false),
            ("ringfence.dev/pool in (,red)", true),
        ] {
            assert_eq!(matches(selector, &host), expected, "{selector:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            ",",
            "a,",
            ",a",
            "a=b,,c",
            "=b",
            "!",
            "!=b",
            "a b",
            "a in",
            "a in b",
            "a in (b",
            "a in (b c)",
            "a>1",
            "a<1",
            "a=b=c",
            "ä=b",
            "a=b;c",
            "a in (b),",
            "a in (b))",
            "\n",
        ] {
            let refused = parse(bad);
            assert!(matches!(refused, Err(SelectorError::Unclear(_))), "{bad:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = |count| vec!["a"; count].join(",");
        assert!(parse(&many(CONDITIONS)).is_ok());
        assert_eq!(parse(&many(CONDITIONS + 1)), Err(SelectorError::Many));
        assert!(parse(&"a".repeat(BYTES)).is_ok());
        assert_eq!(parse(&"a".repeat(BYTES + 1)), Err(SelectorError::Long));
    }
}
