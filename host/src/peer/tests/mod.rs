//! Hosts that call each other.

mod world;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use ringfence_api::{Kind, Name};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::PeerTls;
use super::hosts::Peer;
use super::testing::{Authority, VALID};
use crate::directory::Instance;
use crate::error::CallError;
use crate::limits::name;
use crate::mediation::{CallContext, GrantSet, Principal, Request};
use crate::message::{Message, Part, Role};
use crate::output::{self, OutputEvent};
use crate::session::SessionKey;
use world::*;

#[tokio::test]
async fn a_call_is_done_where_its_target_runs_and_both_records_tell_the_chain() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let mut context = context();
    context.session = Some("s".into());
    let run = context.run;
    let caller = instance(Kind::Agent, "caller", 1);
    let grants = ringfence_api::Grants {
        tools: vec![ringfence_api::ToolGrant {
            name: "t".parse().unwrap(),
            functions: None,
        }],
        ..Default::default()
    };
    let caller = Arc::new(Instance {
        grants: Arc::new(GrantSet::new(grants, Vec::new()).unwrap()),
        ..Arc::into_inner(caller).unwrap()
    });
    let nested = context.nested(Principal::instance(caller, context.caller.clone()));
    let number = nested.call;
    let said = a.call_with(nested, "who").await.unwrap();
    assert_eq!(said, "b agent/caller<user/ann depth 1 session s");
    let there = b.core.records.calls(&tenant(), run);
    assert_eq!(there[0].caller, "agent/caller");
    assert_eq!(there[0].on_behalf_of, ["user/ann"]);
    let from = there[0].routed_from.as_ref().unwrap();
    assert_eq!((from.host.as_str(), from.call), ("a", number));
    let here = a.core.records.calls(&tenant(), run);
    assert_eq!(here[0].served_by.as_ref().map(Name::as_str), Some("b"));
    // The host where it was started lists the run.
    assert!(b.core.records.runs(&tenant(), 10).is_empty());
    let metrics = a.core.metrics.encode().unwrap();
    assert!(
        metrics.contains("ringfence_peer_calls_total{outcome=\"answered\"} 1"),
        "{metrics}"
    );
    let metrics = b.core.metrics.encode().unwrap();
    assert!(
        metrics.contains("ringfence_peer_served_total{outcome=\"ok\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_agent_streams_its_output_and_its_tokens_are_counted() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let mut context = context();
    let (sink, mut events) = output::events();
    context.events = Some(sink);
    let request = Request::Agent {
        agent: "a".parse().unwrap(),
        messages: ["one", "two"]
            .map(|text| Message::text(Role::User, text))
            .into(),
    };
    let reply = a
        .core
        .call(context, request)
        .await
        .unwrap()
        .into_agent()
        .unwrap();
    assert_eq!(reply.content, [Part::Text("b".to_owned())]);
    assert_eq!(
        (reply.usage.input_tokens, reply.usage.output_tokens),
        (3, 4)
    );
    for text in ["one", "two"] {
        let event = OutputEvent::Part(Part::Text(text.to_owned()));
        assert_eq!(events.next().await, Some(event));
    }
}

#[tokio::test]
async fn http_bodies_stream_both_ways_with_their_trailers() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let (send, receive) = mpsc::unbounded_channel::<Frame<Bytes>>();
    let pieces = stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|frame| (Ok(frame), receive))
    });
    let mut request = http::Request::new(StreamBody::new(pieces).boxed_unsync());
    *request.method_mut() = http::Method::PUT;
    *request.uri_mut() = "http://example.org/x?y".parse().unwrap();
    request
        .headers_mut()
        .insert("x-bytes", http::HeaderValue::from_bytes(b"\xff").unwrap());
    let tool = "t".parse().unwrap();
    let call = a.core.call(context(), Request::Incoming { tool, request });
    // The answer comes before the request has ended.
    let response = tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap()
        .unwrap()
        .into_http()
        .unwrap();
    assert_eq!(response.status(), http::StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["x-seen"], "PUT http://example.org/x?y");
    assert_eq!(response.headers()["x-bytes"].as_bytes(), b"\xff");
    let mut body = response.into_body();
    let large = Bytes::from(vec![7; 3 << 20]);
    for piece in [Bytes::from("first"), large] {
        send.send(Frame::data(piece.clone())).unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < piece.len() {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
            echoed.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(echoed, piece);
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "ok".parse().unwrap());
    send.send(Frame::trailers(trailers.clone())).unwrap();
    let last = body.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap(), trailers);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn whoever_gives_up_ends_the_call_on_the_other_host() {
    let [a, mut b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let call = tokio::spawn({
        let core = a.core.clone();
        async move {
            let request = Request::Function {
                tool: "t".parse().unwrap(),
                function: "hang".parse().unwrap(),
                arguments: Map::new(),
            };
            core.call(context(), request).await
        }
    });
    let mut gone = b.begun.recv().await.unwrap();
    call.abort();
    tokio::time::timeout(PATIENCE, gone.closed()).await.unwrap();
    // And so does the deadline.
    let short = CallContext::start(
        tenant(),
        Principal::user(tenant(), "ann"),
        Duration::from_millis(300),
    );
    assert_eq!(a.call_with(short, "hang").await, Err(CallError::Timeout));
    let mut gone = b.begun.recv().await.unwrap();
    tokio::time::timeout(PATIENCE, gone.closed()).await.unwrap();
}

#[tokio::test]
async fn a_host_that_goes_away_leaves_an_unknown_outcome_and_the_next_call_goes_elsewhere() {
    let [a, mut b, c] = hosts(["a", "b", "c"]).await;
    b.runs();
    a.sees(&["b"]);
    let (result, ()) = tokio::join!(a.call("hang"), async {
        let _gone = b.begun.recv().await.unwrap();
        b.serving.abort();
        // Its connections go with it.
        b.serving = AbortOnDropHandle::new(tokio::spawn(async {}));
    });
    assert!(
        matches!(result, Err(CallError::UnknownOutcome(_))),
        "{result:?}"
    );
    c.runs();
    a.sees(&["b", "c"]);
    for _ in 0..10 {
        let said = a.call("who").await.unwrap();
        assert!(said.starts_with("c "), "{said}");
    }
    let metrics = a.core.metrics.encode().unwrap();
    assert!(
        metrics.contains("ringfence_peer_calls_total{outcome=\"unknown\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("ringfence_peer_ejections_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn refusals_go_to_another_host_and_errors_do_not() {
    let [a, b, c] = hosts(["a", "b", "c"]).await;
    b.runs();
    c.runs();
    // `b` is full, `c` drains: nobody is left, and what `b` said is told.
    a.sees(&["b"]);
    assert_eq!(
        a.call("full").await,
        Err(CallError::limit(name::CONCURRENCY, 64))
    );
    b.draining.cancel();
    a.sees(&["b", "c"]);
    for _ in 0..10 {
        assert!(a.call("who").await.unwrap().starts_with("c "));
    }
    assert_eq!(
        a.call("broken").await,
        Err(CallError::Failed("as asked".to_owned()))
    );
    assert!(matches!(
        a.call("nothing").await,
        Err(CallError::NotFound(_))
    ));
    let metrics = c.core.metrics.encode().unwrap();
    assert!(
        metrics.contains("ringfence_peer_served_total{outcome=\"failed\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_call_goes_no_further_than_one_host_and_waits_for_a_target_that_moves() {
    let [a, b, c] = hosts(["a", "b", "c"]).await;
    // `a` thinks that `b` has it, and `b` that `c` has it: it is only refused, not sent round.
    c.runs();
    a.sees(&["b"]);
    b.sees(&["c"]);
    let (result, ()) = tokio::join!(a.call("who"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        a.router
            .table
            .edit(&tenant(), |replicas| replicas.put(&ready("tool", "c")));
    });
    assert!(result.unwrap().starts_with("c "));
    let served = c.core.metrics.encode().unwrap();
    assert!(
        served.contains("ringfence_peer_served_total{outcome=\"ok\"} 1"),
        "{served}"
    );
    // What does not exist is not waited for.
    let request = Request::Function {
        tool: "none".parse().unwrap(),
        function: "who".parse().unwrap(),
        arguments: Map::new(),
    };
    let result = a.core.call(context(), request).await;
    assert!(matches!(result, Err(CallError::NotFound(_))));
}

#[tokio::test]
async fn this_host_does_what_it_can_unless_the_run_falls_to_a_canary_elsewhere() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.core.directory.put_instance(instance(Kind::Tool, "t", 0));
    a.sees(&["b"]);
    // Newer alone is no reason: both are called while one takes over from the other.
    assert!(a.call("who").await.unwrap().starts_with("a "));
    let weigh = |weight| {
        let mut canary = ready("tool", "b");
        canary.spec.weight = Some(weight);
        a.router
            .table
            .edit(&tenant(), |replicas| replicas.put(&canary));
    };
    weigh(100);
    assert!(a.call("who").await.unwrap().starts_with("b "));
    weigh(0);
    assert!(a.call("who").await.unwrap().starts_with("a "));
}

#[tokio::test]
async fn only_hosts_of_the_cluster_are_let_in() {
    let authority = Authority::new();
    let b = Side::new("b", authority.host("b")).await;
    b.runs();
    // Another authority, no certificate at all, and a certificate of a host that does not exist.
    let strangers = [
        Side::new("a", Authority::new().host("a")).await,
        Side::new("a", PeerTls::new("a".parse().unwrap())).await,
        Side::new("gone", authority.host("gone")).await,
    ];
    for stranger in &strangers {
        stranger.knows(&b);
        stranger.sees(&["b"]);
        let short = CallContext::start(
            tenant(),
            Principal::user(tenant(), "ann"),
            Duration::from_secs(3),
        );
        let result = stranger.call_with(short, "who").await;
        assert_eq!(
            result,
            Err(CallError::Timeout),
            "it waits for a host that takes it"
        );
    }
    assert!(b.core.records.runs(&tenant(), 10).is_empty());
    let metrics = b.core.metrics.encode().unwrap();
    assert!(
        !metrics.contains("ringfence_peer_served_total{"),
        "{metrics}"
    );
    // The same host is let in as soon as it exists.
    b.knows(&strangers[2]);
    assert!(strangers[2].call("who").await.unwrap().starts_with("b "));
}

#[tokio::test]
async fn tools_of_other_hosts_are_listed() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    a.core.look(&tenant()).await;
    let view = a.core.directory.view(&tenant());
    let (_, functions) = view.any_tool(&"t".parse().unwrap()).unwrap();
    assert_eq!(functions[0].name.as_str(), "ask");
    assert!(functions[0].input_schema.contains_key("properties"));
    assert!(
        view.all_agents()
            .contains_key(&"a".parse::<Name>().unwrap())
    );
    // Until it is gone.
    a.router
        .table
        .edit(&tenant(), |replicas| replicas.remove("t-b"));
    let gone = async {
        while a
            .core
            .directory
            .view(&tenant())
            .any_tool(&"t".parse().unwrap())
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_conversation_goes_on_wherever_it_is_kept() {
    let authority = Authority::new();
    let [a, b, c] = hosts_of(&authority, ["a", "b", "c"]).await;
    let sides = [&a, &b, &c];
    let key = |n: usize| SessionKey {
        tenant: tenant(),
        agent: "a".parse().unwrap(),
        session: format!("s{n}").into(),
    };
    for n in 0..9 {
        for (turn, side) in sides.iter().enumerate() {
            let said = vec![Message::text(Role::User, turn.to_string())];
            side.core.append(key(n), said).await.unwrap();
        }
        for side in sides {
            let history = side.core.history(key(n), 10).await.unwrap();
            let texts: Vec<_> = history
                .iter()
                .map(|m| crate::message::text_of(&m.content))
                .collect();
            assert_eq!(texts, ["0", "1", "2"]);
        }
    }
    // One of them leaves: what it kept is handed over.
    for side in sides {
        let leaving = Peer {
            address: Some(c.address),
            draining: true,
            lost: false,
        };
        side.router.hosts.put(c.name.clone(), leaving);
    }
    assert!(!c.core.sessions.keys().await.unwrap().is_empty());
    c.router.hand_over(&c.core.sessions).await;
    drop(c.serving);
    for n in 0..9 {
        for side in [&a, &b] {
            assert_eq!(side.core.history(key(n), 10).await.unwrap().len(), 3);
        }
    }
    // Another one joins: what it is to keep is fetched from where it was.
    let d = Side::new("d", authority.host("d")).await;
    for side in [&a, &b, &d] {
        for other in [&a, &b, &d] {
            side.knows(other);
        }
    }
    for n in 0..9 {
        assert_eq!(d.core.history(key(n), 10).await.unwrap().len(), 3);
        assert_eq!(a.core.history(key(n), 10).await.unwrap().len(), 3);
    }
    let fetched = d.core.sessions.keys().await.unwrap();
    assert!(!fetched.is_empty(), "some are kept by the new host now");
}

#[tokio::test]
async fn more_calls_of_a_tenant_than_may_be_sent_are_refused() {
    let [a, mut b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let _busy = a
        .router
        .table
        .tenant(&tenant())
        .await
        .unwrap()
        .gate
        .clone()
        .acquire_many_owned(u32::try_from(super::ROUTED_CONCURRENCY).unwrap())
        .await
        .unwrap();
    let refused = CallError::limit(name::ROUTED_CONCURRENCY, 512);
    assert_eq!(a.call("who").await, Err(refused));
    b.begun.close();
}

#[tokio::test]
async fn what_is_too_large_for_a_message_is_refused_before_it_is_sent() {
    let [a, b] = hosts(["a", "b"]).await;
    b.runs();
    a.sees(&["b"]);
    let most = super::protocol::frame::MESSAGE_BYTES;
    let request = Request::Function {
        tool: "t".parse().unwrap(),
        function: "who".parse().unwrap(),
        arguments: Map::from_iter([("text".to_owned(), Value::String("x".repeat(most)))]),
    };
    let refused = a.core.call(context(), request).await.err();
    assert_eq!(
        refused,
        Some(CallError::limit(name::PEER_MESSAGE_BYTES, most as u64))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_counts_no_longer_than_the_certificates_of_either_side() {
    const SHORT: Duration = Duration::from_secs(2);
    for short in ["a", "b"] {
        let authority = Authority::new();
        let until = SystemTime::now() + SHORT;
        let [a, b] = ["a", "b"].map(|name| authority.host(name));
        let own = if short == "a" { &a } else { &b };
        let renew = |until| {
            let id = ringfence_api::peer::host_id(own.name());
            let id = rcgen::SanType::URI(id.try_into().unwrap());
            own.set(authority.issue(vec![id], until)).unwrap();
        };
        renew(until);
        let (a, b) = (
            Side::new("a", a.clone()).await,
            Side::new("b", b.clone()).await,
        );
        b.runs();
        a.knows(&b);
        b.knows(&a);
        a.sees(&["b"]);
        assert!(a.call("who").await.unwrap().starts_with("b "));
        // Calls keep the connection busy until it is not believed any more.
        let call = async || {
            let caller = Principal::user(tenant(), "ann");
            let brief = CallContext::start(tenant(), caller, Duration::from_secs(1));
            a.call_with(brief, "who").await
        };
        let refused = async { while call().await.is_ok() {} };
        let refused = tokio::time::timeout(PATIENCE, refused).await;
        assert!(refused.is_ok(), "that of {short} has run out long ago");
        assert!(SystemTime::now() >= until, "that of {short}: too early");
        renew(SystemTime::now() + VALID);
        let again = async { while call().await.is_err() {} };
        let again = tokio::time::timeout(PATIENCE, again).await;
        assert!(again.is_ok(), "that of {short} is renewed");
    }
}
