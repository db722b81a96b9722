//! What happened: runs, the calls of a run as a tree, and what guests wrote to their logs. Somebody
//! without the role admin, or the right to list runs, sees the runs that they started.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Admin, Caller};
use super::extract::{Named, Params};
use super::problem::Failure;
use super::schemas::json_content;
use super::{Operation, RestState};
use crate::error::CallError;
use crate::mediation::RunId;
use crate::record::{CallRecord, LogLine, RunSummary};

/// Runs that a list shows when nothing is asked for, and at most.
const LISTED: (usize, usize) = (50, 1000);
/// Runs that are searched for the log of one agent or tool.
const SEARCHED: usize = 1000;
/// Depth of the tree of calls; calls cannot be nested deeper ([`crate::limits::CALL_DEPTH`]).
const DEPTH: u32 = 64;

pub(super) fn operations() -> Vec<Operation> {
    let limit = || {
        let schema =
            json!({"type": "integer", "minimum": 1, "maximum": LISTED.1, "default": LISTED.0});
        ("limit", "Most entries.", schema)
    };
    let base = |path, id, summary, admin, query, response, handler| Operation {
        method: Method::GET,
        path,
        id,
        summary,
        admin,
        query,
        request: Vec::new(),
        status: 200,
        response: json_content(response),
        handler,
    };
    vec![
        base(
            "/api/v1/tenants/{tenant}/runs",
            "listRuns",
            "Lists the newest runs.",
            false,
            vec![limit()],
            "RunList",
            get(list),
        ),
        base(
            "/api/v1/tenants/{tenant}/runs/{run}",
            "getRun",
            "One run: its calls as a tree, with what was decided and how long each took.",
            false,
            Vec::new(),
            "Run",
            get(one),
        ),
        base(
            "/api/v1/tenants/{tenant}/runs/{run}/logs",
            "getRunLogs",
            "What the guests of a run wrote to their logs.",
            false,
            Vec::new(),
            "LogLines",
            get(run_logs),
        ),
        base(
            "/api/v1/tenants/{tenant}/logs",
            "getLogs",
            "What one agent or tool wrote to its log in the newest runs, oldest first.",
            true,
            vec![
                (
                    "source",
                    "`agent/NAME` or `tool/NAME`.",
                    json!({"type": "string"}),
                ),
                limit(),
            ],
            "LogLines",
            get(source_logs),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListParams {
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogParams {
    source: String,
    limit: Option<usize>,
}

fn limit(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        None => Ok(LISTED.0),
        Some(limit) if (1..=LISTED.1).contains(&limit) => Ok(limit),
        Some(limit) => {
            let message = format!("limit: {limit} is not between 1 and {}", LISTED.1);
            Err(CallError::Invalid(message).into())
        }
    }
}

/// Reading records waits for the thread that writes them.
async fn records<T: Send + 'static>(
    state: &RestState,
    work: impl FnOnce(&crate::record::Records) -> T + Send + 'static,
) -> Result<T, Failure> {
    let records = state.host.records().clone();
    tokio::task::spawn_blocking(move || work(&records))
        .await
        .map_err(|_| CallError::Unavailable("the records cannot be read".to_owned()).into())
}

async fn list(
    State(state): State<RestState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<Value>, Failure> {
    let most = limit(params.limit)?;
    let tenant = caller.tenant.clone();
    let sees_all = sees_all(&caller).await?;
    let searched = if sees_all { most } else { usize::MAX };
    let mut runs = records(&state, move |records| records.runs(&tenant, searched)).await?;
    if !sees_all {
        let me = me(&caller);
        runs.retain(|run| run.caller == me);
        runs.truncate(most);
    }
    Ok(axum::Json(json!({ "items": runs })))
}

/// Whether the caller sees what others have run.
async fn sees_all(caller: &Caller) -> Result<bool, Failure> {
    let sees = caller.identity.sees_runs_of_others(&caller.tenant).await;
    sees.map_err(|why| CallError::Unavailable(why.to_string()).into())
}

/// The caller as records name it.
fn me(caller: &Caller) -> String {
    caller.identity.principal(&caller.tenant).to_string()
}

/// The calls of a run that the caller may see.
async fn calls(
    state: &RestState,
    caller: &Caller,
    path: &Named,
) -> Result<(RunId, Vec<Arc<CallRecord>>), Failure> {
    let text = path.text("run");
    let missing = || CallError::NotFound(format!("no run {text} (any more): see `ringfence logs`"));
    let run = RunId::parse(text).ok_or_else(missing)?;
    let tenant = caller.tenant.clone();
    let calls = records(state, move |records| records.calls(&tenant, run)).await?;
    let mine = calls
        .first()
        .is_some_and(|first| first.caller == me(caller));
    if calls.is_empty() || !(mine || sees_all(caller).await?) {
        return Err(missing().into());
    }
    Ok((run, calls))
}

async fn one(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let (run, calls) = calls(&state, &caller, &path).await?;
    Ok(axum::Json(
        json!({ "run": run.to_string(), "calls": tree(&calls) }),
    ))
}

/// The calls, each with those that were made from it.
fn tree(calls: &[Arc<CallRecord>]) -> Vec<Value> {
    let known: std::collections::BTreeSet<u32> = calls.iter().map(|call| call.call).collect();
    let mut below: BTreeMap<Option<u32>, Vec<&CallRecord>> = BTreeMap::new();
    for call in calls {
        // A call whose parent is not recorded (yet, or any more) stands at the top. A parent has a
        // smaller number, so that there are no circles.
        let parent = call
            .parent
            .filter(|parent| *parent < call.call && known.contains(parent));
        below.entry(parent).or_default().push(call);
    }
    branch(&below, None, 0)
}

fn branch(
    below: &BTreeMap<Option<u32>, Vec<&CallRecord>>,
    parent: Option<u32>,
    depth: u32,
) -> Vec<Value> {
    if depth > DEPTH {
        return Vec::new();
    }
    let calls = below.get(&parent).into_iter().flatten();
    calls
        .map(|call| {
            let mut document = json!(call);
            document["calls"] = branch(below, Some(call.call), depth + 1).into();
            document
        })
        .collect()
}

async fn run_logs(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let (run, _) = calls(&state, &caller, &path).await?;
    let tenant = caller.tenant.clone();
    let lines = records(&state, move |records| records.logs(&tenant, run)).await?;
    Ok(axum::Json(json!({ "items": lines })))
}

async fn source_logs(
    State(state): State<RestState>,
    admin: Admin,
    Params(params): Params<LogParams>,
) -> Result<axum::Json<Value>, Failure> {
    let most = limit(params.limit)?;
    let lines = records(&state, move |records| {
        newest_logs(
            records.runs(&admin.tenant, SEARCHED),
            |run| records.logs(&admin.tenant, run),
            &params.source,
            most,
        )
    })
    .await?;
    Ok(axum::Json(json!({ "items": lines })))
}

fn newest_logs(
    runs: Vec<RunSummary>,
    logs: impl Fn(RunId) -> Vec<Arc<LogLine>>,
    source: &str,
    most: usize,
) -> Vec<Arc<LogLine>> {
    let mut found: Vec<Arc<LogLine>> = Vec::new();
    for run in runs {
        found.extend(
            logs(run.run)
                .into_iter()
                .filter(|line| line.source == source),
        );
        if found.len() >= most {
            break;
        }
    }
    found.sort_by_key(|line| line.at_us);
    found.split_off(found.len().saturating_sub(most))
}

#[cfg(test)]
mod unit {
    use ringfence_api::TenantName;

    use super::*;
    use crate::record::{Decision, Outcome};

    fn call(call: u32, parent: Option<u32>) -> Arc<CallRecord> {
        Arc::new(CallRecord {
            run: RunId::new(),
            call,
            parent,
            routed_from: None,
            served_by: None,
            tenant: TenantName::default(),
            caller: "user/local".to_owned(),
            on_behalf_of: Vec::new(),
            capability: "tools".into(),
            target: format!("t{call}"),
            decision: Decision::Allowed,
            outcome: Outcome {
                code: "ok".into(),
                message: None,
            },
            started_us: 0,
            duration_us: 0,
            request_bytes: 0,
            response_bytes: 0,
            usage: None,
            cpu_us: None,
            memory_bytes: None,
        })
    }

    #[test]
    fn calls_hang_below_the_call_that_made_them() {
        let calls = [
            call(0, None),
            call(1, Some(0)),
            call(2, Some(1)),
            call(3, Some(0)),
            call(9, Some(8)),
        ];
        let tree = tree(&calls);
        assert_eq!(
            tree.len(),
            2,
            "a call whose parent is unknown stands at the top"
        );
        assert_eq!(tree[0]["calls"][0]["calls"][0]["target"], "t2");
        assert_eq!(tree[0]["calls"][1]["target"], "t3");
    }
}
