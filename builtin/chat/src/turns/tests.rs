//! The loop against a scripted world.

use std::collections::VecDeque;

use super::*;
use crate::bindings::ringfence::agent::agents::AgentInfo;
use crate::bindings::ringfence::agent::context::{
    CallContext, Parameter, Principal, PrincipalKind,
};
use crate::bindings::ringfence::agent::models::{ModelInfo, Usage};
use crate::bindings::ringfence::agent::tools::{CallRequest, CallResult, Function};
use crate::bindings::ringfence::agent::types::{Denial, ToolCall};

/// One scripted answer of the model: text and calls.
struct Turn(&'static str, Vec<(&'static str, &'static str)>);

struct Fake {
    parameters: Vec<Parameter>,
    turns: VecDeque<Turn>,
    usage: Usage,
    reason: FinishReason,
    remaining_ms: VecDeque<u64>,
    session: Option<Vec<Message>>,
    emits: bool,
    requests: Vec<Request>,
    batches: Vec<Vec<CallRequest>>,
    questions: Vec<(String, Vec<Message>)>,
    emitted: Vec<String>,
}

impl Fake {
    fn new(turns: Vec<Turn>) -> Self {
        Self {
            parameters: Vec::new(),
            turns: turns.into(),
            usage: Usage {
                input_tokens: 10,
                output_tokens: 5,
            },
            reason: FinishReason::Stop,
            remaining_ms: VecDeque::new(),
            session: None,
            emits: true,
            requests: Vec::new(),
            batches: Vec::new(),
            questions: Vec::new(),
            emitted: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(Parameter {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        self
    }

    fn run(&mut self) -> Result<String, Error> {
        let parts = answer(self, vec![text_message(Role::User, "hello")])?;
        Ok(text_of(&parts))
    }

    /// Texts of the results that the last request showed the model.
    fn shown(&self) -> Vec<(String, bool)> {
        let last = self.requests.last().unwrap();
        let results = last.messages.iter().flat_map(|m| &m.tool_results);
        results.map(|r| (text_of(&r.content), r.is_error)).collect()
    }
}

fn denied() -> Error {
    Error::Denied(Denial {
        capability: "session".to_owned(),
        target: String::new(),
        reason: "not granted".to_owned(),
        policy: None,
    })
}

impl World for Fake {
    fn context(&mut self) -> CallContext {
        CallContext {
            run: "0".to_owned(),
            session: self.session.as_ref().map(|_| "s".to_owned()),
            tenant: "default".to_owned(),
            self_principal: Principal {
                kind: PrincipalKind::Agent,
                name: "me".to_owned(),
            },
            callers: Vec::new(),
            parameters: self.parameters.clone(),
            remaining_ms: self.remaining_ms.pop_front().unwrap_or(600_000),
        }
    }

    fn models(&mut self) -> Result<Vec<ModelInfo>, Error> {
        Ok(vec![ModelInfo {
            name: "first".to_owned(),
            description: String::new(),
        }])
    }

    fn ask(
        &mut self,
        request: &Request,
        piece: Option<&mut dyn FnMut(&mut Self, &str)>,
    ) -> Result<Completion, Error> {
        self.requests.push(request.clone());
        let turn = self.turns.pop_front();
        let Turn(text, calls) = turn.ok_or(Error::Unavailable("script is over".to_owned()))?;
        if let Some(piece) = piece {
            for word in text.split_inclusive(' ') {
                piece(self, word);
            }
        }
        let mut message = text_message(Role::Assistant, text);
        for (at, (name, arguments)) in calls.into_iter().enumerate() {
            message.tool_calls.push(ToolCall {
                id: format!("call-{at}"),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            });
        }
        Ok(Completion {
            message,
            finish_reason: self.reason,
            usage: self.usage,
            model: "fake".to_owned(),
        })
    }

    fn functions(&mut self) -> Result<Vec<Function>, Error> {
        let names = ["files_read", "files_denied", "files_slow"];
        Ok(names
            .map(|name| Function {
                name: name.to_owned(),
                description: String::new(),
                input_schema: "{}".to_owned(),
                output_schema: None,
            })
            .into())
    }

    fn call_all(&mut self, requests: &[CallRequest]) -> Vec<Result<CallResult, Error>> {
        self.batches.push(requests.to_vec());
        requests
            .iter()
            .map(|request| match request.name.as_str() {
                "files_denied" => Err(denied()),
                "files_slow" => Err(Error::Timeout),
                _ => Ok(CallResult {
                    content: vec![Part::Text(format!("read {}", request.arguments))],
                    structured: None,
                    is_error: false,
                }),
            })
            .collect()
    }

    fn agents(&mut self) -> Result<Vec<AgentInfo>, Error> {
        Ok(vec![AgentInfo {
            name: "birds".to_owned(),
            description: String::new(),
        }])
    }

    fn send(&mut self, agent: &str, messages: &[Message]) -> Result<Vec<Part>, Error> {
        self.questions.push((agent.to_owned(), messages.to_vec()));
        Ok(vec![Part::Text("a wren".to_owned())])
    }

    fn history(&mut self, _most: u32) -> Result<Vec<Message>, Error> {
        self.session.clone().ok_or_else(denied)
    }

    fn append(&mut self, messages: &[Message]) -> Result<(), Error> {
        self.session
            .as_mut()
            .ok_or_else(denied)?
            .extend_from_slice(messages);
        Ok(())
    }

    fn emit(&mut self, part: &Part) -> Result<(), Error> {
        if !self.emits {
            return Err(denied());
        }
        self.emitted.push(text_of(std::slice::from_ref(part)));
        Ok(())
    }
}

#[test]
fn results_and_failures_go_back_to_the_model() {
    let mut world = Fake::new(vec![
        Turn(
            "Looking.",
            vec![
                ("files_read", r#"{"path":"a"}"#),
                ("files_denied", ""),
                ("files_slow", "{}"),
                ("nothing", "{}"),
                ("files_read", "not json"),
                ("files_read", "[1]"),
                ("agent_birds", r#"{"message":"Which bird?"}"#),
                ("agent_birds", r#"{"question":"Which bird?"}"#),
            ],
        ),
        Turn("Done.", vec![]),
    ])
    .with("chat.parallel-calls", "2")
    .with("chat.instructions", "Be brief.");
    assert_eq!(world.run().unwrap(), "Done.");

    let sizes: Vec<_> = world.batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 1], "three good calls, two at a time");
    assert_eq!(world.batches[0][1].arguments, "{}");
    assert_eq!(world.questions[0].0, "birds");
    let shown = world.shown();
    assert_eq!(shown[0], (r#"read {"path":"a"}"#.to_owned(), false));
    assert_eq!(shown[6], ("a wren".to_owned(), false));
    for (at, words) in [
        (1, "was denied"),
        (2, "in time"),
        (3, "There is no function"),
        (4, "not JSON"),
        (5, "one JSON object"),
        (7, "exactly one argument"),
    ] {
        assert!(
            shown[at].1 && shown[at].0.contains(words),
            "{:?}",
            shown[at]
        );
    }
    let first = &world.requests[0];
    assert_eq!(first.model, "first");
    assert_eq!(first.messages[0], text_message(Role::System, "Be brief."));
    assert_eq!(first.tools.len(), 4);
}

#[test]
fn text_is_passed_on_in_pieces_until_nobody_takes_it() {
    let long = "one two three four five six seven eight nine ten eleven twelve";
    let script = || {
        vec![
            Turn("Looking.", vec![("files_read", "{}")]),
            Turn(long, vec![]),
        ]
    };
    let mut world = Fake::new(script());
    world.run().unwrap();
    assert_eq!(world.emitted.concat(), format!("Looking.\n\n{long}"));
    assert!(world.emitted.len() > 2);

    let mut deaf = Fake::new(script());
    deaf.emits = false;
    assert_eq!(deaf.run().unwrap(), long);
}

#[test]
fn the_last_turn_answers_without_calls_and_says_so() {
    let call = || vec![("files_read", "{}")];
    let mut world =
        Fake::new(vec![Turn("", call()), Turn("Half of it.", call())]).with("chat.max-turns", "2");
    let answer = world.run().unwrap();
    assert!(
        answer.starts_with("Half of it.") && answer.contains("limit of 2 turns"),
        "{answer}"
    );
    assert_eq!(world.requests[1].tool_choice, ToolChoice::None);
    assert_eq!(
        world.batches.len(),
        1,
        "the calls of the last turn are not made"
    );

    let mut silent =
        Fake::new(vec![Turn("", call()), Turn("", call())]).with("chat.max-turns", "2");
    let limit = Limit {
        name: "chat-turns".to_owned(),
        maximum: 2,
    };
    assert_eq!(silent.run(), Err(Error::LimitExceeded(limit)));
}

#[test]
fn tokens_and_time_are_kept_back_for_an_answer() {
    let script = || {
        vec![
            Turn("", vec![("files_read", "{}")]),
            Turn("So far.", vec![]),
        ]
    };
    // 15 tokens a turn: after the first one, two more would cross 40.
    let mut poor = Fake::new(script()).with("chat.total-tokens", "40");
    assert!(poor.run().unwrap().contains("limit of 40 tokens"));
    assert_eq!(poor.requests[1].tool_choice, ToolChoice::None);

    let mut spent = Fake::new(script()).with("chat.total-tokens", "15");
    assert!(matches!(spent.run(), Err(Error::LimitExceeded(l)) if l.name == "chat-total-tokens"));
    assert!(spent.batches.is_empty());

    let mut late = Fake::new(script());
    late.remaining_ms = [100_000, 90_000, 24_000].into();
    assert!(late.run().unwrap().contains("time for this run"));
}

#[test]
fn an_answer_that_was_cut_off_says_so() {
    let mut world = Fake::new(vec![Turn("Once upon", vec![])]);
    world.reason = FinishReason::Length;
    assert!(world.run().unwrap().contains("cut this answer off"));
    let mut withheld = Fake::new(vec![Turn("", vec![])]);
    withheld.reason = FinishReason::ContentFilter;
    assert!(matches!(withheld.run(), Err(Error::Failed(_))));
}

const SCHEMA: &str = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;

#[test]
fn a_wrong_answer_is_asked_for_again_with_what_is_wrong() {
    let mut world = Fake::new(vec![
        Turn("Sure! n is 1", vec![]),
        Turn(r#"{"n":"1"}"#, vec![]),
        Turn("```json\n{\"n\":1}\n```", vec![]),
    ])
    .with("chat.output-schema", SCHEMA);
    assert_eq!(world.run().unwrap(), r#"{"n":1}"#);
    let told = text_of(&world.requests[2].messages.last().unwrap().content);
    assert!(told.contains("$.n: expected integer"), "{told}");
    assert!(world.requests[0].options.response_schema.is_some());
    assert!(world.emitted.is_empty(), "nothing goes out unchecked");
}

#[test]
fn the_third_wrong_answer_is_the_last() {
    let mut world =
        Fake::new((0..4).map(|_| Turn("{}", vec![])).collect()).with("chat.output-schema", SCHEMA);
    assert!(matches!(world.run(), Err(Error::Failed(why)) if why.contains(r#""n" is missing"#)));
    assert_eq!(world.requests.len(), 3);
}

#[test]
fn a_session_is_read_and_continued() {
    let mut world = Fake::new(vec![Turn("Hi again.", vec![])]);
    let mut orphan = text_message(Role::Tool, "");
    orphan.content.clear();
    world.session = Some(vec![
        orphan,
        text_message(Role::User, "earlier"),
        text_message(Role::Assistant, "Hi."),
    ]);
    world.run().unwrap();
    let asked: Vec<_> = world.requests[0]
        .messages
        .iter()
        .map(|m| text_of(&m.content))
        .collect();
    assert_eq!(asked, ["earlier", "Hi.", "hello"]);
    let kept: Vec<_> = world
        .session
        .unwrap()
        .iter()
        .map(|m| text_of(&m.content))
        .collect();
    assert_eq!(kept, ["", "earlier", "Hi.", "hello", "Hi again."]);
}

#[test]
fn bad_settings_and_failing_models_are_typed_errors() {
    let mut world = Fake::new(vec![]).with("chat.max-turns", "many");
    assert!(matches!(world.run(), Err(Error::Invalid(why)) if why.contains("chat.max-turns")));
    let mut silent = Fake::new(vec![]);
    assert!(matches!(silent.run(), Err(Error::Unavailable(_))));
}
