//! Every target, with what is valid and with thousands of mutations of it. The mutations are the same in
//! each run; libFuzzer, which learns from what it sees, is for longer ones (`make fuzz`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use ringfence_fuzz::Seeds;

/// Mutations of each target.
const MUTATIONS: usize = 20_000;
/// Time for them where the machine is slow.
const PATIENCE: Duration = Duration::from_secs(4);
/// Bytes of a mutation.
const MOST: usize = 64 << 10;

/// Calls the target with what is valid, then with mutations; says which bytes it panics on.
fn try_with(target: fn(&[u8]), from: &Seeds) {
    let (seeds, words) = (&from.inputs, from.words);
    let attempt = |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            let text = String::from_utf8_lossy(bytes);
            panic!("it panics on {bytes:02x?}, as text {text:?}");
        }
    };
    seeds.iter().for_each(|seed| attempt(seed));
    let mut random = SmallRng::seed_from_u64(1);
    let begun = Instant::now();
    for _ in 0..MUTATIONS {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..6) {
            mutate(&mut random, &mut bytes, seeds, words);
        }
        bytes.truncate(MOST);
        attempt(&bytes);
    }
}

fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.random_range(0..=bytes.len());
    let end = random.random_range(at..=bytes.len().min(at + 64));
    match random.random_range(0..7) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let mut piece = [0; 8];
            random.fill_bytes(&mut piece);
            let length = random.random_range(1..=piece.len());
            bytes.splice(at..end, piece[..length].iter().copied());
        }
        2 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        3 => {
            let piece = bytes[at..end].to_vec();
            let times = random.random_range(1..20);
            bytes.splice(at..at, piece.repeat(times));
        }
        4 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len().min(from + 256));
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        5 => bytes.truncate(at),
        _ if !words.is_empty() => {
            let word = words[random.random_range(0..words.len())];
            bytes.splice(at..end, word.iter().copied());
        }
        _ => {}
    }
}

#[test]
fn no_json_panics_the_codec() {
    try_with(ringfence_fuzz::arguments, &ringfence_fuzz::argument_seeds());
}

#[test]
fn no_bytes_panic_the_inspection() {
    try_with(ringfence_fuzz::inspect, &ringfence_fuzz::inspect_seeds());
}

#[test]
fn no_text_panics_the_logins() {
    try_with(ringfence_fuzz::logins, &ringfence_fuzz::login_seeds());
}

#[test]
fn no_text_panics_the_manifests() {
    try_with(ringfence_fuzz::manifests, &ringfence_fuzz::manifest_seeds());
}

#[test]
fn no_text_panics_the_urls() {
    try_with(ringfence_fuzz::urls, &ringfence_fuzz::url_seeds());
}
