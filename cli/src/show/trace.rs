//! The tree of a run's calls.

use serde_json::Value;

use super::{Style, safe};

/// The calls of a run, as `GET …/runs/{run}` answers them, one line each.
pub fn trace(run: &Value, color: bool) -> String {
    let mut out = String::new();
    let calls = run["calls"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for call in calls {
        line(call, "", "", color, &mut out);
    }
    out
}

fn line(call: &Value, lead: &str, below: &str, color: bool, out: &mut String) {
    let text = |field: &str| safe(call[field].as_str().unwrap_or_default());
    let code = call["outcome"]["code"].as_str().unwrap_or("?");
    let (mark, style) = match (call["decision"].as_str(), code) {
        (Some("denied"), _) => ("✗", Style::Bad),
        (_, "ok") => ("✓", Style::Good),
        _ => ("!", Style::Warn),
    };
    *out += &Style::Faint.paint(lead, color);
    *out += &style.paint(mark, color);
    *out += &format!(
        " {} {}  {}",
        Style::Faint.paint(&text("capability"), color),
        Style::Strong.paint(&text("target"), color),
        duration(call["durationUs"].as_u64().unwrap_or(0)),
    );
    *out += &format!(
        "  {} in, {} out",
        bytes(call["requestBytes"].as_u64().unwrap_or(0)),
        bytes(call["responseBytes"].as_u64().unwrap_or(0))
    );
    if let Some(tokens) = tokens(&call["usage"]) {
        *out += &format!(", {tokens} tokens");
    }
    if code != "ok" {
        let message = call["outcome"]["message"]
            .as_str()
            .map(safe)
            .unwrap_or_default();
        *out += &format!("  {}", style.paint(&format!("{code} {message}"), color));
    }
    out.push('\n');
    let calls = call["calls"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (index, inner) in calls.iter().enumerate() {
        let last = index + 1 == calls.len();
        let (lead, deeper) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        line(
            inner,
            &format!("{below}{lead}"),
            &format!("{below}{deeper}"),
            color,
            out,
        );
    }
}

fn tokens(usage: &Value) -> Option<u64> {
    let of = |name: &str| usage[name].as_u64();
    let input = of("inputTokens").or_else(|| of("input_tokens"))?;
    let output = of("outputTokens")
        .or_else(|| of("output_tokens"))
        .unwrap_or(0);
    Some(input + output)
}

/// Microseconds for people.
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// Bytes for people.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{}.{} KiB", bytes / 1_024, bytes % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_drawn_as_a_tree() {
        let call = |target: &str, decision: &str, code: &str, calls: Value| {
            json!({"capability": "tools", "target": target, "decision": decision,
                   "outcome": {"code": code}, "durationUs": 1500, "requestBytes": 10,
                   "responseBytes": 2048, "calls": calls})
        };
        let inner = json!([
            call(
                "a_b",
                "allowed",
                "ok",
                json!([call("c_d", "denied", "denied", json!([]))])
            ),
            call("e_f", "allowed", "failed", json!([])),
        ]);
        let run = json!({"calls": [call("desk", "allowed", "ok", inner)]});
        let expected = "\
✓ tools desk  1.5 ms  10 B in, 2.0 KiB out
├─ ✓ tools a_b  1.5 ms  10 B in, 2.0 KiB out
│  └─ ✗ tools c_d  1.5 ms  10 B in, 2.0 KiB out  denied \n└─ ! tools e_f  1.5 ms  10 B in, 2.0 KiB out  failed \n";
        assert_eq!(trace(&run, false), expected);
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(
            [duration(5), duration(12_340), duration(3_456_000)],
            ["5 µs", "12.3 ms", "3.45 s"]
        );
        assert_eq!(
            [bytes(5), bytes(1536), bytes(3 << 20)],
            ["5 B", "1.5 KiB", "3.0 MiB"]
        );
    }
}
