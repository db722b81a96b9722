//! Matching lines of one text.

use regex_lite::Regex;

/// Longest line that is given back, in characters.
const LINE: usize = 500;

/// A line that matches.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub line: u32,
    pub text: String,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// The lines of `text` that match, each with up to `context` lines around it.
pub fn find<'a>(text: &'a str, pattern: &'a Regex, context: usize) -> impl Iterator<Item = Found> {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).filter_map(move |at| {
        pattern.is_match(lines[at]).then(|| Found {
            line: u32::try_from(at + 1).unwrap_or(u32::MAX),
            text: shorten(lines[at]),
            before: lines[at.saturating_sub(context)..at].iter().copied().map(shorten).collect(),
            after: lines[at + 1..lines.len().min(at + 1 + context)].iter().copied().map(shorten).collect(),
        })
    })
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_stops_at_the_ends() {
        let pattern = Regex::new("b|d").unwrap();
        let found: Vec<_> = find("a\nb\nc\nd", &pattern, 2).map(|f| (f.line, f.before, f.after)).collect();
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(found, [(2, lines("a"), lines("cd")), (4, lines("bc"), lines(""))]);
    }

    #[test]
    fn long_lines_are_cut() {
        let pattern = Regex::new("x").unwrap();
        let found = find(&"x".repeat(600), &pattern, 0).next().map(|f| f.text.chars().count());
        assert_eq!(found, Some(501));
    }
}
