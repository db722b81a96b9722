//! Clients that call without a break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A client of the OpenAI endpoint.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    pub(crate) fn new(url: &str, tenant: &str, token: &str) -> Self {
        Self {
            // Each call finds its own host, as calls of many clients do.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
            url: format!("{url}/{tenant}/v1/chat/completions"),
            token: token.to_owned(),
        }
    }

    /// What an agent answers, or why it does not.
    pub(crate) async fn ask(&self, agent: &str, text: &str) -> Result<String, String> {
        let body = json!({"model": agent, "messages": [{"role": "user", "content": text}]});
        let call = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .json(&body);
        let answer = call.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer["choices"][0]["message"]["content"].as_str() {
            Some(content) if status.is_success() => Ok(content.to_owned()),
            _ => Err(format!("{status}: {text}")),
        }
    }
}

/// Calls that go on until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<(u32, Vec<String>)>>,
}

impl Load {
    pub(crate) fn start(client: &Client, agent: &'static str, callers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..callers).map(|_| {
            let (client, stop) = (client.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut answered, mut lost) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match client.ask(agent, "hello").await {
                        Ok(_) => answered += 1,
                        Err(error) => lost.push(error),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                (answered, lost)
            })
        });
        Self {
            callers: callers.collect(),
            stop,
        }
    }

    /// How many calls were answered, and why others were not: each cause with how often it was one.
    pub(crate) async fn end(self) -> (u32, BTreeMap<String, u32>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut answered, mut lost) = (0, BTreeMap::new());
        for caller in self.callers {
            let (of_one, lost_of_one) = caller.await.unwrap();
            answered += of_one;
            for cause in lost_of_one {
                *lost.entry(cause).or_default() += 1;
            }
        }
        (answered, lost)
    }
}
