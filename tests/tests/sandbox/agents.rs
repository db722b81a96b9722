//! Agents: their answers, failures, output and sessions.

use std::sync::Arc;

use libtest_mimic::Trial;
use ringfence_host::builtin::CHAT_COMPONENT;
use ringfence_host::error::CallError;
use ringfence_host::limits::Limits;
use ringfence_host::mediation::Request;
use ringfence_host::message::{Blob, Message, Part, Role};
use ringfence_host::output::{OutputEvent, events};
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, text_of};
use serde_json::json;

use crate::{limit, test};

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("sessions_go_on_across_runs", sessions_go_on));
    tests.push(test("an_agent_is_offered_as_a_tool", as_a_tool));
    tests.push(test("agents_answer_with_pictures", pictures));
}

/// Binary content takes the room that its limit says, and not a multiple of it.
async fn pictures(host: TestHost) {
    const MOST: u64 = 2 << 20;
    let limits = Limits {
        output_bytes: MOST,
        ..Limits::AGENT
    };
    host.agent("echo", guests::AGENT_ECHO, Setup::limited(limits))
        .await;
    let show = async |bytes: u64| {
        let picture = Part::Image(Blob {
            mime_type: "image/png".to_owned(),
            data: vec![7; usize::try_from(bytes).unwrap()].into(),
        });
        let request = Request::Agent {
            agent: "echo".parse().unwrap(),
            messages: vec![Message {
                content: vec![picture.clone()],
                ..Message::text(Role::User, "")
            }],
        };
        let reply = host.host().call(host.context(), request).await?;
        assert_eq!(reply.into_agent()?.content, [picture]);
        Ok::<_, CallError>(())
    };
    assert_eq!(show(MOST - 100).await, Ok(()));
    assert_eq!(show(MOST + 1).await, limit("output-bytes", MOST));
}

pub(crate) async fn agent_echo(host: TestHost) {
    host.agent("echo", guests::AGENT_ECHO, Setup::default())
        .await;
    assert_eq!(host.ask("echo", "good day").await.unwrap(), "good day");
    let unknown = host.ask("other", "good day").await;
    assert!(
        matches!(unknown, Err(CallError::NotFound(_))),
        "{unknown:?}"
    );
}

pub(crate) async fn agent_stream(host: TestHost) {
    host.agent("stream", guests::AGENT_STREAM, Setup::default().output())
        .await;
    host.agent("mute", guests::AGENT_STREAM, Setup::default())
        .await;
    let (sink, mut reader) = events();
    let mut context = host.context();
    context.events = Some(sink);
    let answer = host.ask_in(context, "stream", "one two three").await;
    assert_eq!(answer.unwrap(), "one two three");
    for word in ["one ", "two ", "three"] {
        let expected = OutputEvent::Part(Part::Text(word.to_owned()));
        assert_eq!(reader.next().await, Some(expected));
    }
    assert_eq!(reader.next().await, None);
    match host.ask("mute", "one").await {
        Err(CallError::Denied(denial)) => assert_eq!(denial.capability, "output"),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn agent_slow(host: TestHost) {
    host.agent("slow", guests::AGENT_SLOW, Setup::default().output())
        .await;
    let (sink, mut reader) = events();
    let mut context = host.context();
    context.events = Some(sink);
    let began = std::time::Instant::now();
    let answer = host.ask_in(context, "slow", "50").await;
    assert_eq!(answer.unwrap(), "waited 50 ms");
    assert!(began.elapsed().as_millis() >= 50);
    let expected = OutputEvent::Part(Part::Text("began".to_owned()));
    assert_eq!(reader.next().await, Some(expected));
}

pub(crate) async fn agent_fail(host: TestHost) {
    host.agent("fail", guests::AGENT_FAIL, Setup::default())
        .await;
    let failed = host.ask("fail", "my reason").await;
    assert_eq!(failed, Err(CallError::Failed("my reason".to_owned())));
    let trapped = host.ask("fail", "trap").await;
    assert!(matches!(trapped, Err(CallError::Failed(_))), "{trapped:?}");
}

async fn sessions_go_on(host: TestHost) {
    host.model("m", &["first", "second", "third"]);
    let mut setup = Setup::default().models(&["m"]).output();
    setup.grants.session = true;
    host.agent("chat", CHAT_COMPONENT, setup).await;
    let ask = async |session: Option<&str>| {
        let mut context = host.context();
        context.session = session.map(Arc::from);
        host.ask_in(context, "chat", "hello").await.unwrap()
    };
    assert_eq!(ask(Some("a")).await, "first");
    assert_eq!(ask(Some("a")).await, "second");
    // Another conversation, and none, begin anew.
    assert_eq!(ask(Some("b")).await, "first");
    assert_eq!(ask(None).await, "first");
    assert_eq!(ask(None).await, "first");
    assert_eq!(ask(Some("a")).await, "third");
    // The same name belongs to another conversation in another tenant.
    let other = TestHost::new();
    other.model("m", &["first", "second"]);
    let mut setup = Setup::default().models(&["m"]).output();
    setup.grants.session = true;
    other.agent("chat", CHAT_COMPONENT, setup).await;
    let mut context = other.context();
    context.session = Some(Arc::from("a"));
    let answer = other.ask_in(context, "chat", "hello").await;
    assert_eq!(answer.unwrap(), "first");
}

async fn as_a_tool(host: TestHost) {
    host.agent("echo", guests::AGENT_ECHO, Setup::default())
        .await;
    host.agent_tool("asks", "echo");
    let answer = host.call("asks", "ask", json!({ "message": "hi" })).await;
    assert_eq!(text_of(&answer.unwrap()), "hi");
    let wrong = host.call("asks", "tell", json!({ "message": "hi" })).await;
    assert!(matches!(wrong, Err(CallError::NotFound(_))), "{wrong:?}");
    let wrong = host.call("asks", "ask", json!({})).await;
    assert!(matches!(wrong, Err(CallError::Invalid(_))), "{wrong:?}");
}
