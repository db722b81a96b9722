//! The loop: ask the model, make the calls that it wants, ask again, until it answers.

use std::mem;

use crate::bindings::ringfence::agent::models::{
    Completion, FinishReason, Options, Request, ToolChoice,
};
use crate::bindings::ringfence::agent::types::{Error, Limit, Message, Part, Role};
use crate::catalog::Catalog;
use crate::clip::{CONVERSATION_BYTES, message_size};
use crate::dispatch::{self, text_message};
use crate::failure::{invalid, is_denied};
use crate::settings::Settings;
use crate::world::World;

/// Most messages of earlier runs that the model is shown.
pub const HISTORY: u32 = 100;
/// How often the model is asked again for an answer that follows the schema.
pub const REPAIRS: u32 = 2;
/// Most time that is kept back for a last answer, in milliseconds; a quarter of the whole if less.
const CLOSING_MS: u64 = 60_000;
/// Text is sent on in pieces of at least so many bytes: each piece is a host call, and those count.
const PIECE: usize = 48;

/// Answers a conversation, as `chat.` parameters and grants say.
///
/// # Errors
/// `invalid` for settings or a model that cannot be used, the model's own failures, `limit-exceeded`
/// (`chat-turns`, `chat-total-tokens`, `chat-conversation-bytes`) or `timeout` when a bound was reached
/// and there is nothing to show for it, and `failed` for an answer that keeps breaking the
/// output schema. Failed function calls are no errors: the model reads what happened.
pub fn answer<W: World>(world: &mut W, messages: Vec<Message>) -> Result<Vec<Part>, Error> {
    let context = world.context();
    let settings = Settings::read(&context.parameters).map_err(invalid)?;
    let model = pick_model(world, &settings)?;
    let functions = granted(world.functions())?;
    let agents = granted(world.agents())?;
    let session = context.session.is_some();
    let history = if session {
        whole_turns(granted(world.history(HISTORY))?)
    } else {
        Vec::new()
    };

    let mut conversation = Vec::new();
    if let Some(instructions) = settings.instructions.as_deref().filter(|i| !i.is_empty()) {
        conversation.push(text_message(Role::System, instructions));
    }
    conversation.extend(history);
    let new_from = conversation.len();
    conversation.extend(messages);

    let mut run = Run {
        catalog: Catalog::new(functions, agents),
        emitter: Emitter::new(settings.output_schema.is_none()),
        conversation,
        settings,
        model,
        used: 0,
        last_cost: 0,
        closing_ms: CLOSING_MS.min(context.remaining_ms / 4),
    };
    let content = run.converse(world)?;
    if session {
        let turns: Vec<_> = run
            .conversation
            .drain(new_from..)
            .filter(|message| message.role != Role::System)
            .collect();
        match world.append(&turns) {
            Err(error) if !is_denied(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(content)
}

fn pick_model<W: World>(world: &mut W, settings: &Settings) -> Result<String, Error> {
    if let Some(model) = &settings.model {
        return Ok(model.clone());
    }
    let first = world.models()?.into_iter().next();
    let model = first
        .ok_or_else(|| invalid("no model is granted to this agent: set `model` in its resource"))?;
    Ok(model.name)
}

/// What is granted; nothing where the whole capability is not.
fn granted<T>(listed: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match listed {
        Err(error) if is_denied(&error) => Ok(Vec::new()),
        other => other,
    }
}

/// Drops what precedes the first question: a cut may have parted calls from their results, which
/// models refuse.
fn whole_turns(mut history: Vec<Message>) -> Vec<Message> {
    let start = history.iter().position(|m| m.role == Role::User);
    history.drain(..start.unwrap_or(history.len()));
    history
}

/// Why no further calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Turns,
    Tokens,
    Time,
    Size,
}

struct Run {
    settings: Settings,
    model: String,
    catalog: Catalog,
    conversation: Vec<Message>,
    emitter: Emitter,
    /// Tokens of all turns so far.
    used: u64,
    /// Tokens of the last turn; the next one will cost at least about as much.
    last_cost: u64,
    /// Time kept back for a last answer.
    closing_ms: u64,
}

impl Run {
    fn converse<W: World>(&mut self, world: &mut W) -> Result<Vec<Part>, Error> {
        let mut turn = 0;
        let mut repairs = 0;
        let mut told = false;
        loop {
            turn += 1;
            let bound = self.bound(world, turn);
            let mut closing = bound;
            if let Some(bound) = bound
                && turn > 1
            {
                if !mem::replace(&mut told, true) {
                    // The last question: no calls, and the model knows why.
                    let note = format!(
                        "[{}. No further calls are possible. Answer now from what is known, and say what is missing.]",
                        self.describe(bound)
                    );
                    self.conversation.push(text_message(Role::User, &note));
                }
            } else if bound == Some(Bound::Turns) {
                // A single turn is all there is: nothing to explain, the model just gets no functions.
                closing = None;
            }
            let completion = self.ask(world, bound.is_none())?;
            let Completion {
                mut message,
                finish_reason,
                ..
            } = completion;
            let calls = mem::take(&mut message.tool_calls);
            if bound.is_none() && !calls.is_empty() {
                if self.used < self.settings.total_tokens {
                    message.tool_calls = calls;
                    self.make_calls(world, message);
                    continue;
                }
                closing = Some(Bound::Tokens);
            }
            // What was asked for and will not be called must not stay in the conversation.
            let unmet = !calls.is_empty();
            let text = text_of(&message.content);
            let violations = self.violations(&text);
            if violations.is_empty() {
                return self.finish(world, message, finish_reason, closing, unmet);
            }
            if repairs == REPAIRS || closing.is_some() && self.used >= self.settings.total_tokens {
                return Err(Error::Failed(format!(
                    "the model's answer does not follow the output schema after {} attempts: {}",
                    repairs + 1,
                    violations.join("; ")
                )));
            }
            repairs += 1;
            if text.is_empty() {
                message.content = vec![Part::Text("(no answer)".to_owned())];
            }
            self.conversation.push(message);
            let note = format!(
                "[The answer does not follow the required JSON Schema: {}. Answer again with the corrected JSON and nothing else.]",
                violations.join("; ")
            );
            self.conversation.push(text_message(Role::User, &note));
        }
    }

    /// The bound that makes this turn the last one.
    fn bound<W: World>(&self, world: &mut W, turn: u32) -> Option<Bound> {
        let size: usize = self.conversation.iter().map(message_size).sum();
        if turn >= self.settings.max_turns {
            Some(Bound::Turns)
        } else if self.used.saturating_add(self.last_cost.saturating_mul(2))
            > self.settings.total_tokens
        {
            Some(Bound::Tokens)
        } else if world.context().remaining_ms < self.closing_ms {
            Some(Bound::Time)
        } else if size >= CONVERSATION_BYTES {
            Some(Bound::Size)
        } else {
            None
        }
    }

    fn describe(&self, bound: Bound) -> String {
        match bound {
            Bound::Turns => format!("The limit of {} turns is reached", self.settings.max_turns),
            Bound::Tokens => format!(
                "The limit of {} tokens is reached",
                self.settings.total_tokens
            ),
            Bound::Time => "The time for this run is nearly over".to_owned(),
            Bound::Size => "The conversation has become too large".to_owned(),
        }
    }

    fn limit(&self, bound: Bound) -> Error {
        let (name, maximum) = match bound {
            Bound::Time => return Error::Timeout,
            Bound::Turns => ("chat-turns", u64::from(self.settings.max_turns)),
            Bound::Tokens => ("chat-total-tokens", self.settings.total_tokens),
            Bound::Size => ("chat-conversation-bytes", CONVERSATION_BYTES as u64),
        };
        Error::LimitExceeded(Limit {
            name: name.to_owned(),
            maximum,
        })
    }

    fn ask<W: World>(&mut self, world: &mut W, may_call: bool) -> Result<Completion, Error> {
        let request = Request {
            model: self.model.clone(),
            messages: self.conversation.clone(),
            // Offered to the end: some providers refuse a conversation with calls of unknown functions.
            tools: self.catalog.definitions().to_vec(),
            tool_choice: if may_call {
                ToolChoice::Auto
            } else {
                ToolChoice::None
            },
            options: Options {
                temperature: self.settings.temperature,
                top_p: None,
                max_tokens: self.settings.max_tokens,
                stop: Vec::new(),
                seed: None,
                response_schema: self.settings.output_schema.as_ref().map(|s| s.text()),
            },
        };
        let emitter = &mut self.emitter;
        let completion = if emitter.on {
            emitter.begin_turn();
            let mut piece = |world: &mut W, text: &str| emitter.piece(world, text);
            let completion = world.ask(&request, Some(&mut piece))?;
            emitter.flush(world);
            completion
        } else {
            world.ask(&request, None)?
        };
        let usage = completion.usage;
        self.last_cost = usage.input_tokens.saturating_add(usage.output_tokens);
        self.used = self.used.saturating_add(self.last_cost);
        Ok(completion)
    }

    fn make_calls<W: World>(&mut self, world: &mut W, turn: Message) {
        self.conversation.push(turn.clone());
        let size: usize = self.conversation.iter().map(message_size).sum();
        let results = dispatch::call_all(
            world,
            &self.catalog,
            &turn.tool_calls,
            self.settings.parallel_calls,
            CONVERSATION_BYTES.saturating_sub(size),
        );
        self.conversation.push(Message {
            role: Role::Tool,
            content: Vec::new(),
            tool_calls: Vec::new(),
            tool_results: results,
        });
    }

    /// What is wrong with an answer, where a schema was given.
    fn violations(&self, text: &str) -> Vec<String> {
        let Some(schema) = &self.settings.output_schema else {
            return Vec::new();
        };
        match serde_json::from_str(strip_fence(text)) {
            Ok(value) => schema.violations(&value),
            Err(error) => vec![format!("it is not JSON: {error}")],
        }
    }

    fn finish<W: World>(
        &mut self,
        world: &mut W,
        message: Message,
        reason: FinishReason,
        closing: Option<Bound>,
        unmet: bool,
    ) -> Result<Vec<Part>, Error> {
        let mut content = message.content.clone();
        if self.settings.output_schema.is_some() {
            // Exactly the JSON: a note beside it would break whoever parses it.
            content = vec![Part::Text(strip_fence(&text_of(&content)).to_owned())];
        } else {
            let empty = text_of(&content).trim().is_empty()
                && !content.iter().any(|p| !matches!(p, Part::Text(_)));
            if empty {
                if let Some(bound) = closing {
                    return Err(self.limit(bound));
                }
                if reason == FinishReason::ContentFilter {
                    return Err(Error::Failed(
                        "the model's provider withheld the answer".to_owned(),
                    ));
                }
                if unmet {
                    return Err(self.limit(Bound::Turns));
                }
            }
            let mut notes = Vec::new();
            if let Some(bound) = closing {
                notes.push(format!(
                    "{}, so this answer may be incomplete.",
                    self.describe(bound)
                ));
            }
            match reason {
                FinishReason::Length => {
                    notes.push(
                        "The model's limit of tokens for one answer cut this answer off."
                            .to_owned(),
                    );
                }
                FinishReason::ContentFilter => {
                    notes.push("The model's provider withheld part of this answer.".to_owned());
                }
                FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other => {}
            }
            if !notes.is_empty() {
                let note = format!("\n\n[{}]", notes.join(" "));
                self.emitter.piece(world, &note);
                self.emitter.flush(world);
                content.push(Part::Text(note));
            }
        }
        self.conversation.push(Message {
            content: content.clone(),
            ..message
        });
        Ok(content)
    }
}

/// The text of a Markdown code fence that surrounds all of `text`, which models like to add.
fn strip_fence(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|t| t.strip_suffix("```"));
    match inner.and_then(|t| t.split_once('\n')) {
        Some((_language, body)) => body.trim(),
        None => text,
    }
}

fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// Sends text on while it is written, as long as somebody takes it.
struct Emitter {
    on: bool,
    waiting: String,
    sent: bool,
    /// A blank line is due before the next text: what precedes it is another turn's.
    gap: bool,
}

impl Emitter {
    fn new(on: bool) -> Self {
        Self {
            on,
            waiting: String::new(),
            sent: false,
            gap: false,
        }
    }

    fn begin_turn(&mut self) {
        self.gap = self.sent;
    }

    fn piece<W: World>(&mut self, world: &mut W, text: &str) {
        if !self.on || text.is_empty() {
            return;
        }
        if mem::take(&mut self.gap) {
            self.waiting.push_str("\n\n");
        }
        self.waiting.push_str(text);
        // The first words go out at once: that is what people wait for.
        if !self.sent || self.waiting.len() >= PIECE {
            self.flush(world);
        }
    }

    fn flush<W: World>(&mut self, world: &mut W) {
        let waiting = mem::take(&mut self.waiting);
        if self.on && !waiting.is_empty() {
            self.sent = true;
            self.on = world.emit(&Part::Text(waiting)).is_ok();
        }
    }
}

#[cfg(test)]
mod tests;
