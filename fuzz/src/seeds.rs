//! What is valid, or nearly, for each target: where mutations begin.

use crate::TYPE_END;

/// Where one target begins.
pub struct Seeds {
    /// Whole inputs.
    pub inputs: Vec<Vec<u8>>,
    /// What such inputs are made of.
    pub words: &'static [&'static [u8]],
}

impl Seeds {
    /// Writes the inputs into the folder that `RINGFENCE_FUZZ_SEEDS` names, one file each, for libFuzzer to begin
    /// with. Nothing happens where none is named.
    ///
    /// # Panics
    /// A file cannot be written.
    pub fn sow(&self) {
        let Some(folder) = std::env::var_os("RINGFENCE_FUZZ_SEEDS") else {
            return;
        };
        let folder = std::path::PathBuf::from(folder);
        for (number, input) in self.inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), input)
                .expect("a seed is written");
        }
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// JSON, with types.
pub fn argument_seeds() -> Seeds {
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
    let mut inputs = Vec::new();
    for value in values {
        for kind in 0..=21_u8 {
            // A type of this kind, and others in it.
            let mut seed = vec![kind, 2, kind.wrapping_mul(37), 8, 1, TYPE_END];
            seed.extend(value.as_bytes());
            inputs.push(seed);
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
    Seeds { inputs, words }
}

/// Small components.
pub fn inspect_seeds() -> Seeds {
    let mut inputs: Vec<Vec<u8>> = ringfence_test_guests::ALL
        .iter()
        .map(|(_, bytes)| bytes.to_vec())
        .filter(|bytes| bytes.len() < 4 << 10)
        .collect();
    for text in [
        "(component)",
        "(component (type (list u8)) (import \"a:b/c\" (instance)))",
        "(component (core module (func)) (component (type (record (field \"a\" u8)))))",
    ] {
        inputs.push(wat::parse_str(text).expect("a component"));
    }
    let words: &[&[u8]] = &[
        b"\0asm",
        b"\x0d\0\x01\0",
        b"\xff\xff\xff\xff\x0f",
        b"\x01\0\0\0",
    ];
    Seeds { inputs, words }
}

/// Manifests, and YAML that is hard to read.
pub fn manifest_seeds() -> Seeds {
    let inputs = texts(&[
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
    Seeds { inputs, words }
}

/// Images, and files of logins for them.
pub fn login_seeds() -> Seeds {
    let inputs = texts(&[
        "r.example:5000/team/a:1\n{\"auths\": {\"r.example:5000\": {\"auth\": \"dXNlcjpwYXNz\"}, \
         \"https://r.example:5000/team/\": {\"username\": \"u\", \"password\": \"p\"}}}",
        "docker.io/a/b\n{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"dTpw\"}}}",
        "a.b.c/d\n{\"auths\": {\"*.b.*/d\": {\"auth\": \"dTpw\", \"identitytoken\": \"\"}}, \
         \"credHelpers\": {\"x\": null}, \"credsStore\": \"y\"}",
        "[::1]:5000/a@sha256:0\n{\"auths\": {\"[::1]:5000\": {}}}",
    ]);
    let words: &[&[u8]] = &[
        b"*",
        b"**",
        b"/",
        b"//",
        b":",
        b".",
        b"\"",
        b"https://",
        b"/v1/",
        b"v2",
        b"{}",
        b"null",
        b"\xc3\xa9",
        b"\\u002a",
    ];
    Seeds { inputs, words }
}

/// URLs.
pub fn url_seeds() -> Seeds {
    let inputs = texts(&[
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
    Seeds { inputs, words }
}
