//! The load generator: `wrk`, the same for both sides of every comparison.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::stats::median;

/// Connections that are kept busy. Below the 64 calls that a tool takes at the same time.
pub(crate) const CONNECTIONS: u32 = 32;
/// Time of one measurement.
const TIME: Duration = Duration::from_secs(4);
/// Measurements of each side; they alternate.
const ROUNDS: usize = 5;

/// What is sent.
#[derive(Clone, Default)]
pub(crate) struct Load {
    /// The whole URL.
    pub(crate) url: String,
    /// Headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body of a POST; a GET without.
    pub(crate) body: Option<String>,
}

/// Requests a second of each side: the median of all rounds.
pub(crate) struct Compared {
    /// Of ours.
    pub(crate) ours: f64,
    /// Of what it is compared with.
    pub(crate) peer: f64,
}

impl Compared {
    /// Ours as a part of the peer's.
    pub(crate) fn ratio(&self) -> f64 {
        self.ours / self.peer
    }
}

/// How the load is made, for the detail of a measurement.
pub(crate) fn described() -> String {
    format!(
        "wrk, 1 thread, {CONNECTIONS} connections, {ROUNDS} alternating rounds of {} s each, medians",
        TIME.as_secs()
    )
}

/// Puts the same load on both, one after the other, several times.
pub(crate) fn compare(ours: &Load, peer: &Load) -> Result<Compared> {
    let second = Duration::from_secs(1);
    for load in [ours, peer] {
        load.put(second)?;
    }
    let (mut our_rates, mut peer_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rates.push(ours.put(TIME)?);
        peer_rates.push(peer.put(TIME)?);
    }
    Ok(Compared {
        ours: median(&our_rates),
        peer: median(&peer_rates),
    })
}

/// Puts a load several times on one server: the median of requests a second.
pub(crate) fn alone(load: &Load) -> Result<f64> {
    load.put(Duration::from_secs(1))?;
    let rates: Result<Vec<f64>> = (0..ROUNDS).map(|_| load.put(TIME)).collect();
    Ok(median(&rates?))
}

impl Load {
    /// Requests a second over this time. An answer that is not a success is an error.
    fn put(&self, time: Duration) -> Result<f64> {
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(self.script().as_bytes())?;
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .arg("--script")
            .arg(script.path())
            .arg(&self.url)
            .output()
            .context(
                "wrk cannot be started: run `scripts/setup wrk`, or install it in your own way",
            )?;
        let text = String::from_utf8_lossy(&output.stdout);
        let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let result = result.with_context(|| {
            format!(
                "wrk gives no result: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let numbers: Vec<f64> = result.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [requests, micros, failed] = numbers[..] else {
            anyhow::bail!("wrk gives {result:?}");
        };
        ensure!(
            failed == 0.0,
            "{failed} of {requests} requests to {} failed",
            self.url
        );
        Ok(requests / (micros / 1e6))
    }

    /// The request and the result in the language of wrk.
    fn script(&self) -> String {
        let mut script = String::new();
        if let Some(body) = &self.body {
            script += &format!("wrk.method = \"POST\"\nwrk.body = [==[{body}]==]\n");
        }
        for (name, value) in &self.headers {
            script += &format!("wrk.headers[\"{name}\"] = [==[{value}]==]\n");
        }
        script
            + "done = function(summary)\n\
               local e = summary.errors\n\
               local failed = e.connect + e.read + e.write + e.status + e.timeout\n\
               print(string.format(\"RESULT %d %d %d\", summary.requests, summary.duration, failed))\n\
               end\n"
    }
}
