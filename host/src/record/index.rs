//! The newest runs, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use ringfence_api::TenantName;

use super::entry::{CallRecord, Decision, Entry, LogLine, RunSummary};
use crate::mediation::{ROUTED_CALLS, RunId};

/// Runs that are kept in memory.
pub const MEMORY_RUNS: usize = 4096;
/// Records that are kept in memory; older runs are forgotten first.
pub const MEMORY_RECORDS: usize = 65_536;

#[derive(Default)]
struct Run {
    calls: Vec<Arc<CallRecord>>,
    logs: Vec<Arc<LogLine>>,
}

#[derive(Default)]
struct Runs {
    by_id: HashMap<RunId, Run>,
    order: VecDeque<RunId>,
    records: usize,
}

/// Runs by their number. Written by the writer thread only.
#[derive(Default)]
pub(super) struct Index(RwLock<Runs>);

impl Index {
    pub(super) fn add(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut runs = self.0.write();
        for entry in entries {
            runs.add(entry);
        }
    }

    pub(super) fn runs(&self, tenant: &TenantName, most: usize) -> Vec<RunSummary> {
        let runs = self.0.read();
        runs.order
            .iter()
            .rev()
            .filter_map(|id| summary(*id, runs.by_id.get(id)?, tenant))
            .take(most)
            .collect()
    }

    pub(super) fn calls(&self, tenant: &TenantName, run: RunId) -> Vec<Arc<CallRecord>> {
        let runs = self.0.read();
        let mut calls: Vec<_> = runs
            .by_id
            .get(&run)
            .map(|run| {
                run.calls
                    .iter()
                    .filter(|call| call.tenant == *tenant)
                    .cloned()
                    .collect()
            })
            .unwrap_or_default();
        calls.sort_by_key(|call| call.call);
        calls
    }

    pub(super) fn logs(&self, tenant: &TenantName, run: RunId) -> Vec<Arc<LogLine>> {
        let runs = self.0.read();
        runs.by_id
            .get(&run)
            .map(|run| {
                run.logs
                    .iter()
                    .filter(|line| line.tenant == *tenant)
                    .cloned()
                    .collect()
            })
            .unwrap_or_default()
    }
}

impl Runs {
    fn add(&mut self, entry: Entry) {
        let id = match &entry {
            Entry::Call(call) => call.run,
            Entry::Log(line) => line.run,
        };
        let order = &mut self.order;
        let run = self.by_id.entry(id).or_insert_with(|| {
            order.push_back(id);
            Run::default()
        });
        match entry {
            Entry::Call(call) => run.calls.push(Arc::new(call)),
            Entry::Log(line) => run.logs.push(Arc::new(line)),
        }
        self.records += 1;
        while (self.order.len() > MEMORY_RUNS || self.records > MEMORY_RECORDS)
            && self.order.len() > 1
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(run) = self.order.pop_front().and_then(|id| self.by_id.remove(&id)) {
            self.records -= run.calls.len() + run.logs.len();
        }
    }
}

fn summary(id: RunId, run: &Run, tenant: &TenantName) -> Option<RunSummary> {
    let first = run.calls.iter().min_by_key(|call| call.call)?;
    // The host where it was started lists it; here is only a part of it.
    if first.tenant != *tenant || first.call >= ROUTED_CALLS {
        return None;
    }
    let root = (first.call == 0).then_some(first);
    Some(RunSummary {
        run: id,
        caller: first.caller.clone(),
        target: first.target.clone(),
        outcome: root.map(|root| root.outcome.clone()),
        started_us: first.started_us,
        duration_us: root.map_or(0, |root| root.duration_us),
        calls: run.calls.len(),
        denied: run
            .calls
            .iter()
            .filter(|call| call.decision == Decision::Denied)
            .count(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::Outcome;
    use super::*;

    fn call(run: RunId, call: u32) -> Entry {
        Entry::Call(CallRecord {
            run,
            call,
            parent: None,
            routed_from: None,
            served_by: None,
            tenant: TenantName::default(),
            caller: "user/local".to_owned(),
            on_behalf_of: Vec::new(),
            capability: "agents".into(),
            target: "reviewer".to_owned(),
            decision: Decision::Allowed,
            outcome: Outcome {
                code: "ok".into(),
                message: None,
            },
            started_us: 1,
            duration_us: 2,
            request_bytes: 3,
            response_bytes: 4,
            usage: None,
            cpu_us: None,
            memory_bytes: None,
        })
    }

    #[test]
    fn a_tenant_does_not_see_the_runs_of_another() {
        let (index, run) = (Index::default(), RunId::new());
        index.add([call(run, 1), call(run, 0)]);
        let other: TenantName = "other".parse().unwrap();
        assert!(index.calls(&other, run).is_empty());
        assert!(index.runs(&other, 10).is_empty());
        let calls = index.calls(&TenantName::default(), run);
        assert_eq!(
            calls.iter().map(|call| call.call).collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn memory_is_bounded() {
        let index = Index::default();
        for _ in 0..MEMORY_RUNS + 10 {
            index.add([call(RunId::new(), 0)]);
        }
        assert_eq!(
            index.runs(&TenantName::default(), usize::MAX).len(),
            MEMORY_RUNS
        );
    }
}
