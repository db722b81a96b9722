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

/// Mutations of each target.
const MUTATIONS: usize = 20_000;
/// Time for them where the machine is slow.
const PATIENCE: Duration = Duration::from_secs(4);
/// Bytes of a mutation.
const MOST: usize = 64 << 10;

/// Calls the target with what is valid, then with mutations; says which bytes it panics on.
fn try_with(target: fn(&[u8]), seeds: &[Vec<u8>], words: &[&[u8]]) {
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

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn no_json_panics_the_codec() {
    let values = [
        "null",
        "true",
        "-1",
        "18446744073709551615",
        "1e400",
        "0.1",
        "\"NaN\"",
        "\"a\"",
        "\"\\ud83d\"",
        "[]",
        "[1, [2, {}]]",
        "{\"n-0\": 1, \"n-1\": null}",
        "{\"ok\": {\"some\": [null]}}",
        "\"AAECAw==\"",
    ];
    let mut seeds = Vec::new();
    for value in values {
        for kind in 0..=21_u8 {
            // A type of this kind, and others in it.
            let mut seed = vec![
                kind,
                2,
                kind.wrapping_mul(37),
                8,
                1,
                ringfence_fuzz::TYPE_END,
            ];
            seed.extend(value.as_bytes());
            seeds.push(seed);
        }
    }
    let words: &[&[u8]] = &[
        b"{",
        b"[",
        b"null",
        b"\"some\"",
        b"-0",
        b"1e999",
        b"\\u0000",
    ];
    try_with(ringfence_fuzz::arguments, &seeds, words);
}

#[test]
fn no_bytes_panic_the_inspection() {
    let mut seeds: Vec<Vec<u8>> = ringfence_test_guests::ALL
        .iter()
        .map(|(_, bytes)| bytes.to_vec())
        .filter(|bytes| bytes.len() < 4 << 10)
        .collect();
    for text in [
        "(component)",
        "(component (type (list u8)) (import \"a:b/c\" (instance)))",
        "(component (core module (func)) (component (type (record (field \"a\" u8)))))",
    ] {
        seeds.push(wat::parse_str(text).unwrap());
    }
    let words: &[&[u8]] = &[
        b"\0asm",
        b"\x0d\0\x01\0",
        b"\xff\xff\xff\xff\x0f",
        b"\x01\0\0\0",
    ];
    try_with(ringfence_fuzz::inspect, &seeds, words);
}

#[test]
fn no_text_panics_the_manifests() {
    let seeds = texts(&[
        "apiVersion: ringfence.dev/v1alpha1\nkind: Agent\nmetadata: {name: a}\nspec:\n  instructions: x\n  \
         model: {name: m}\n  grants:\n    tools: [{name: t, functions: [f]}]\n    http: [{scheme: https, \
         host: '*.example.com', path: '/a/*'}]\n    env: [{name: A, value: b}]\n",
        "apiVersion: ringfence.dev/v1alpha1\nkind: Model\nmetadata: {name: m}\nspec:\n  provider:\n    \
         scripted: {turns: [{text: '{{user.text}}', calls: [{name: n, arguments: {a: 1}}]}]}\n",
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {name: t, labels: {a: b}}\nspec:\n  mcp: \
         {url: 'https://example.com/mcp', headers: [{name: x, valueFrom: {env: X}}], pollMs: 1000}\n",
        "a: &a [*a]\n---\n? {b: c}\n: |+\n  text\n...\n%YAML 1.2\n--- !!map {<<: {a: 1}}\n",
        &("- ".repeat(200) + "a"),
        &format!("spec: {}", "{a: [".repeat(100)),
        "{\"apiVersion\": 1, \"kind\": null, \"metadata\": [], \"spec\": 1e999}",
    ]);
    let words: &[&[u8]] = &[
        b"\n---\n",
        b": ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!binary ",
        b"- ",
        b"0x",
        b"~",
        b"\t",
        b"\xef\xbb\xbf",
        b"spec:",
        b"kind: ",
        b"{}",
        b"[]",
        b"'",
        b"\"",
        b"2026-01-01",
        b".inf",
    ];
    try_with(ringfence_fuzz::manifests, &seeds, words);
}

#[test]
fn no_text_panics_the_urls() {
    let seeds = texts(&[
        "https://example.com/a/b?c=d#e",
        "http://user:pw@127.0.0.1:80/",
        "http://[::ffff:7f00:1]:8080/%2e%2e/%2F",
        "http://0x7f.1/..;/a",
        "HTTPS://EXAMPLE.com.:443/%E2%80%AE",
        "http://xn--nxasmq6b/\\@evil.example/",
    ]);
    let words: &[&[u8]] = &[
        b"..",
        b"%2e",
        b"%00",
        b"@",
        b"\\",
        b"//",
        b":",
        b"[",
        b"]",
        b"?",
        b"#",
        b"%",
        b"\xe3\x80\x82",
        b"0177.",
        b"%252e",
        b";",
    ];
    try_with(ringfence_fuzz::urls, &seeds, words);
}
