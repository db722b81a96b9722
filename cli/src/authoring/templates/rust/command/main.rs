//! A command-line tool: an ordinary program. It reads text on stdin and prints its most frequent
//! words; the first argument says how many (10 by default).

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let most = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 10,
        Some(Ok(number)) => number,
        Some(Err(error)) => {
            eprintln!("how many words? {error}");
            return ExitCode::from(2);
        }
    };
    let text = match io::read_to_string(io::stdin()) {
        Ok(text) => text.to_lowercase(),
        Err(error) => {
            eprintln!("cannot read stdin: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut counts = BTreeMap::<&str, usize>::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    // The sort is stable, so words of the same frequency stay in alphabetical order.
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (word, count) in words.into_iter().take(most) {
        println!("{count}\t{word}");
    }
    ExitCode::SUCCESS
}
