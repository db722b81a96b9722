//! Runs: watches them, follows what the book decides, and removes them.

use std::borrow::Cow;
use std::collections::VecDeque;

use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::EventType;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use ringfence_api::{API_VERSION, Name, RUN_MESSAGE_BYTES, Run, RunPhase, chain, condition, head};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Operator;
use crate::condition::{Verdict, find};
use crate::error::Error;
use crate::index::Index;
use crate::key::WorkloadId;
use crate::metrics::Verb;
use crate::runs::{Candidates, Ending, RunKey, Step, Targets, book};
use crate::workload::is_ready;
use crate::write::FIELD_MANAGER;

/// Writes that are made at the same time.
const WRITES: usize = 64;

/// Follows the runs of the cluster for ever.
pub(super) async fn follow(operator: Operator, client: Client) {
    let all = Api::<Run>::all(client);
    let mut events = watcher(all, Config::default()).default_backoff().boxed();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the watch of runs broke; it starts again");
                continue;
            }
        };
        let (now, wall) = (Instant::now(), Timestamp::now());
        let mut book = operator.runs.lock();
        match event {
            Event::Init => book.list_begins(),
            Event::InitApply(run) => book.list_has(&run, now, wall),
            Event::InitDone => book.list_ends(),
            Event::Apply(run) => book.put(&run, now, wall),
            Event::Delete(run) => {
                if let Some(key) = RunKey::of(&run) {
                    book.remove(&key);
                }
            }
        }
        drop(book);
        operator.running.notify_one();
    }
}

/// Follows what the book decides, for ever.
pub(super) async fn run(operator: Operator) {
    let mut waiting: VecDeque<(RunKey, Step)> = VecDeque::new();
    let mut writing = FuturesUnordered::new();
    loop {
        let next = {
            let index = operator.index.lock();
            let mut book = operator.runs.lock();
            waiting.extend(book.decide(&*index, Instant::now()));
            operator.metrics.runs(book.waiting(), book.bound());
            book.next()
        };
        while writing.len() < WRITES
            && let Some((key, step)) = waiting.pop_front()
        {
            writing.push(follow_step(&operator, key, step));
        }
        tokio::select! {
            Some(()) = writing.next(), if !writing.is_empty() => {}
            () = operator.running.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && waiting.is_empty() => {}
        }
    }
}

impl Targets for Index {
    fn candidates(&self, target: &WorkloadId) -> Candidates {
        let what = target.kind.as_str();
        if self.workload(target).is_none() {
            return Candidates::None(format!("there is no {what} {}", target.name));
        }
        let mut hosts: Vec<(Name, String)> = Vec::new();
        for instance in self.instances_of(target).iter().filter(|i| is_ready(i)) {
            let Some(name) = &instance.spec.host_name else {
                continue;
            };
            let Some(view) = self.host(name).filter(|view| view.is_alive()) else {
                continue;
            };
            let status = view.host.status.as_ref();
            let journal = status.and_then(|status| status.journal.clone());
            if let Some(journal) = journal
                && !view.host.spec.draining
                && !hosts.iter().any(|(known, _)| known == name)
            {
                hosts.push((name.clone(), journal));
            }
        }
        match hosts.is_empty() {
            true => Candidates::None(format!(
                "the {what} {} is not ready on any host",
                target.name
            )),
            false => Candidates::Hosts(hosts),
        }
    }

    fn alive(&self, host: &Name) -> bool {
        self.host(host).is_some_and(|view| view.is_alive())
    }
}

async fn follow_step(operator: &Operator, key: RunKey, step: Step) {
    let Some(known) = operator.runs.lock().get(&key).cloned() else {
        return;
    };
    let now = Timestamp::now();
    let generation = known.generation;
    let with = |verdict: Verdict| {
        let mut conditions: Vec<Condition> = known.conditions.clone();
        let kind = verdict.kind;
        let condition = verdict.since(&known.conditions, generation, now);
        conditions.retain(|other| other.type_ != kind);
        conditions.push(condition);
        conditions
    };
    let (status, event) = match &step {
        Step::Bind(host, journal, left) => {
            let mut status = json!({
                "phase": RunPhase::Pending, "observedGeneration": generation, "hostName": host,
                "hostJournal": journal, "timeLeftMs": book::millis(*left),
            });
            // Most are bound at once; only who was told otherwise is told that it is over.
            if find(&known.conditions, condition::BOUND).is_some() {
                let message = format!("it is bound to the host {host}");
                status["conditions"] =
                    json!(with(Verdict::yes(condition::BOUND, "Bound", message)));
            }
            (status, None)
        }
        Step::Say(verdict) => {
            let status = json!({
                "phase": RunPhase::Pending, "observedGeneration": generation,
                "conditions": with(verdict.clone()),
            });
            (
                status,
                Some((verdict.reason.clone(), verdict.message.clone())),
            )
        }
        Step::End(ending) => ended(ending, generation, now, with),
        Step::Remove => {
            remove(operator, &key, &known.uid).await;
            return;
        }
    };
    let patch = json!({"metadata": {"resourceVersion": known.version}, "status": status});
    let api = operator.writer.namespaced::<Run>(key.tenant.as_str());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let action = format!("write the status of run {key}");
    let patch = Patch::Merge(&patch);
    let request = api.patch_status(&key.name, &params, &patch);
    let done = operator.writer.send(Verb::Status, action, request).await;
    if done.is_ok() {
        match &step {
            Step::Bind(..) => operator.metrics.run_bound(),
            Step::End(ending) => operator.metrics.run_ended(ending.code()),
            Step::Say(_) | Step::Remove => {}
        }
        if let Some((reason, note)) = event {
            let about = ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: Some("Run".to_owned()),
                namespace: Some(key.tenant.to_string()),
                name: Some(key.name.clone()),
                uid: Some(known.uid.clone()),
                ..ObjectReference::default()
            };
            operator
                .tell(about, EventType::Warning, &reason, note)
                .await;
        }
    }
    settle(operator, &key, done);
}

type Written = (Value, Option<(Cow<'static, str>, String)>);

fn ended(
    ending: &Ending,
    generation: Option<i64>,
    now: Timestamp,
    with: impl Fn(Verdict) -> Vec<Condition>,
) -> Written {
    let (phase, reason) = match ending {
        Ending::Canceled => (RunPhase::Canceled, "Canceled"),
        Ending::TimedOut(_) => (RunPhase::Failed, "TimedOut"),
        Ending::Unknown(_) => (RunPhase::Failed, "UnknownOutcome"),
    };
    let message = head(ending.message(), RUN_MESSAGE_BYTES);
    let verdict = Verdict::yes(condition::FINISHED, reason, message.clone());
    let status = json!({
        "phase": phase, "observedGeneration": generation, "finishedAt": now.to_string(),
        "error": {"code": ending.code(), "message": message},
        "conditions": with(verdict),
    });
    let event = (*ending != Ending::Canceled).then_some((reason.into(), message));
    (status, event)
}

/// Takes in how a write went.
fn settle(operator: &Operator, key: &RunKey, done: Result<Run, Error>) {
    let now = Instant::now();
    let mut book = operator.runs.lock();
    match done {
        Ok(run) => {
            book.put(&run, now, Timestamp::now());
            book.done(key);
        }
        Err(error) if error.code() == Some(404) => book.remove(key),
        Err(error) => {
            // Somebody was quicker (409), most often with a cancel; the watch tells what is there now.
            if error.code() != Some(409) {
                tracing::warn!(run = %key, error = %chain(&error), "not written; it is tried again");
            }
            book.failed(key, now);
        }
    }
}

async fn remove(operator: &Operator, key: &RunKey, uid: &str) {
    let api = operator.writer.namespaced::<Run>(key.tenant.as_str());
    let mut params = DeleteParams::background();
    // Never another run that has taken the name meanwhile.
    params.preconditions = Some(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    let action = format!("delete run {key}");
    let request = api.delete(&key.name, &params);
    let done = operator.writer.send(Verb::Delete, action, request).await;
    let mut book = operator.runs.lock();
    match done {
        Ok(_) => {
            book.remove(key);
            operator.metrics.run_removed();
        }
        Err(error) if matches!(error.code(), Some(404 | 409)) => book.remove(key),
        Err(error) => {
            tracing::warn!(run = %key, error = %chain(&error), "not removed; it is tried again");
            book.failed(key, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::write::tests::leading;

    #[tokio::test]
    async fn what_is_written_about_a_run_is_about_the_one_that_was_seen() {
        let (writer, sent) = leading();
        let operator = Operator::new(writer, "operator", "ringfence-system");
        let run: Run = serde_json::from_value(json!({
            "apiVersion": API_VERSION, "kind": "Run",
            "metadata": {
                "name": "r", "namespace": "team", "uid": "u-1", "resourceVersion": "7", "generation": 1,
            },
            "spec": {"agent": {"name": "writer", "input": "hello"}},
        }))
        .unwrap();
        let key = RunKey {
            tenant: "team".parse().unwrap(),
            name: "r".to_owned(),
        };
        let bind = Step::Bind(
            Name::well_known("h"),
            "j".to_owned(),
            std::time::Duration::ZERO,
        );
        for step in [bind, Step::End(Ending::Canceled), Step::Remove] {
            // What is answered is that there is none, which is then known.
            let (now, wall) = (Instant::now(), Timestamp::now());
            operator.runs.lock().put(&run, now, wall);
            follow_step(&operator, key.clone(), step).await;
        }
        let sent = std::mem::take(&mut *sent.lock());
        let [(_, _, bound), (_, _, ended), (method, _, removed)] = &*sent else {
            panic!("{sent:?}");
        };
        for changed in [bound, ended] {
            assert_eq!(changed["metadata"]["resourceVersion"], "7", "{changed}");
        }
        assert_eq!(*method, Method::DELETE);
        assert_eq!(removed["preconditions"]["uid"], "u-1", "{removed}");
    }
}
