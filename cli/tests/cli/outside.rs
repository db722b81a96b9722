//! What clients outside see of the host beyond its commands: its end, and its silence.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::{Host, serve, text, until};

/// Sends one HTTP/1.1 request and reads everything that comes back.
pub(super) fn http(url: &str, method: &str, path: &str, body: &str) -> String {
    http_with(url, method, path, "", body)
}

/// As [`http`], with these lines in the head.
pub(super) fn http_with(url: &str, method: &str, path: &str, head: &str, body: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{head}\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

/// Reads the request of the host, head and body, and keeps the connection.
fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    // The body is one JSON object, and nothing in the head ends like it.
    while !request.ends_with(b"}") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request broke off: {}", text(&request));
        request.extend_from_slice(&piece[..read]);
    }
    stream
}

#[test]
fn a_call_in_flight_ends_while_new_ones_are_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let thinker = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host::start(folder.path(), &[]);
    let model = format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Model\nmetadata: {{name: slow}}\nspec:\n  provider:\n    \
         openAi: {{model: m, baseUrl: 'http://{}/v1', addresses: private}}\n",
        thinker.local_addr().unwrap()
    );
    host.ok(&["apply", "-f", &host.file("slow.yaml", &model)]);
    let question = r#"{"model": "model/slow", "messages": [{"role": "user", "content": "?"}]}"#;
    let url = host.url.clone();
    let waiting =
        std::thread::spawn(move || http(&url, "POST", "/default/v1/chat/completions", question));
    let mut thinking = asked(&thinker);

    let id = host.process.id().to_string();
    let signal = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(signal.success());
    until(|| status(&http(&host.url, "GET", "/readyz", "")) == "503");
    assert_eq!(status(&http(&host.url, "GET", "/healthz", "")), "200");
    for (method, path, body, expected) in [
        (
            "POST",
            "/default/v1/chat/completions",
            question,
            r#""type":"server_error""#,
        ),
        ("POST", "/default/mcp", "{}", r#""code":"unavailable""#),
        (
            "GET",
            "/api/v1/version",
            "",
            "content-type: application/problem+json",
        ),
    ] {
        let answer = http(&host.url, method, path, body);
        assert_eq!(status(&answer), "503", "{path}: {answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{path}: {answer}");
        assert!(answer.contains(expected), "{path}: {answer}");
    }
    let (code, error) = host.err(&["get", "all"]);
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("takes no more work"), "{error}");

    let completion = r#"{"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "42 after all"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}"#;
    write!(
        thinking,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{completion}",
        completion.len()
    )
    .unwrap();
    let answer = waiting.join().unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("42 after all"), "{answer}");
    assert_eq!(host.ended(), 0);
}

#[test]
fn mistakes_of_clients_are_not_logged_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let lines = |filter: Option<&str>| {
        let mut command = serve(folder.path(), &[]);
        command.env_remove("RINGFENCE_LOG");
        if let Some(filter) = filter {
            command.env("RINGFENCE_LOG", filter);
        }
        command.stderr(std::fs::File::create(&log).unwrap());
        let host = Host::started(folder.path(), command);
        let accept = "accept: application/json, text/event-stream\r\n";
        let hello = r#"{"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}}"#;
        let begun = http_with(&host.url, "POST", "/default/mcp", accept, hello);
        let mut lines = begun.lines();
        let session = lines.find_map(|line| line.strip_prefix("mcp-session-id: "));
        let head = format!("{accept}mcp-session-id: {}\r\n", session.unwrap());
        let nonsense = r#"{"jsonrpc": "2.0", "id": 1, "method": "no/such"}"#;
        for _ in 0..20 {
            let answer = http_with(&host.url, "POST", "/default/mcp", &head, nonsense);
            assert!(answer.contains("-32601"), "{answer}");
        }
        assert_eq!(host.terminate(), 0);
        let written = std::fs::read_to_string(&log).unwrap();
        written.lines().filter(|line| line.contains("rmcp")).count()
    };
    assert_eq!(lines(None), 0);
    assert!(lines(Some("warn")) >= 20);
}
