//! A tool: `wit/world.wit` says what its functions are, this file what they do.

wit_bindgen::generate!({ path: "wit" });

use exports::local::{{snake}}::text::{Counts, Guest, Hit};

struct Tool;

impl Guest for Tool {
    fn measure(text: String) -> Counts {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Counts {
            lines: count(text.lines().count()),
            words: count(text.split_whitespace().count()),
            bytes: count(text.len()),
        }
    }

    // An `Err` becomes a tool error: the caller sees the text, and a model can try again.
    fn find(text: String, phrase: String) -> Result<Vec<Hit>, String> {
        if phrase.is_empty() {
            return Err("the phrase is empty".to_owned());
        }
        let hits = (1..).zip(text.lines()).filter(|(_, line)| line.contains(&phrase));
        Ok(hits.map(|(line, text)| Hit { line, text: text.to_owned() }).collect())
    }
}

export!(Tool);
