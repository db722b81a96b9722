//! A web server as a component: POST a text to `/`, get its statistics as JSON.

use std::collections::BTreeMap;

use serde_json::json;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// Largest text that is taken, in bytes.
const BODY: usize = 1 << 20;

struct TextStats;

impl Guest for TextStats {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (status, answer) = match (request.method(), read(&request)) {
            (Method::Get, _) => (200, json!({"usage": "POST a text to get its statistics"})),
            (Method::Post, Ok(text)) => (200, statistics(&text)),
            (Method::Post, Err((status, why))) => (status, json!({"error": why})),
            _ => (405, json!({"error": "use GET or POST"})),
        };
        respond(out, status, &answer.to_string());
    }
}

fn statistics(text: &str) -> serde_json::Value {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let mut total = 0;
    for word in words {
        total += 1;
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let top: Vec<_> = ranked.iter().take(10).map(|(w, n)| json!({"word": w, "count": n})).collect();
    json!({
        "lines": text.lines().count(),
        "words": total,
        "characters": text.chars().count(),
        "distinct": counts.len(),
        "top": top,
    })
}

fn read(request: &IncomingRequest) -> Result<String, (u16, &'static str)> {
    let unreadable = |()| (400, "the body cannot be read");
    let body = request.consume().map_err(unreadable)?;
    let stream = body.stream().map_err(unreadable)?;
    let mut bytes = Vec::new();
    while let Ok(mut piece) = stream.blocking_read(64 << 10) {
        bytes.append(&mut piece);
        if bytes.len() > BODY {
            return Err((413, "at most 1 MiB"));
        }
    }
    String::from_utf8(bytes).map_err(|_| (415, "the body is not UTF-8 text"))
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    // Both are valid, so neither can be refused.
    let _ = headers.append("content-type", b"application/json");
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        for piece in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

wasip2::http::proxy::export!(TextStats);
