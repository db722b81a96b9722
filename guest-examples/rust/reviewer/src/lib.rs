//! An agent in Rust: it collects open points from the files of a folder with the tool `text-search`,
//! all searches at once, and, where it is granted a model, has it order them. Without a model the plain
//! findings are the answer.

mod report;

// `ringfence build` puts the contract into `wit/deps`.
wit_bindgen::generate!({ path: "wit", generate_all });

use exports::ringfence::agent::handler::Guest;
use report::{Finding, Topic, text_of};
use ringfence::agent::models::{self, Options, Request, ToolChoice};
use ringfence::agent::output::{self, ProgressReport};
use ringfence::agent::tools::{self, CallRequest};
use ringfence::agent::types::{Error, Message, Part, Role};
use ringfence::agent::context;

/// What is looked for.
const TOPICS: [Topic; 3] = [
    Topic { title: "Open points", pattern: r"\b(TODO|TBD|FIXME|open question)\b" },
    Topic { title: "Vague words", pattern: r"\b(soon|somehow|probably|as appropriate|etc\.)" },
    Topic { title: "Dates that may be over", pattern: r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b" },
];

struct Reviewer;

impl Guest for Reviewer {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        let parameters = context::current().parameters;
        let setting = |name: &str| parameters.iter().find(|p| p.name == name).map(|p| p.value.clone());
        let folder = setting("folder").unwrap_or_else(|| "/input".to_owned());
        progress(0.0, &format!("searching {folder}"));

        let requests: Vec<_> = TOPICS
            .iter()
            .map(|topic| CallRequest {
                name: "text-search_find".to_owned(),
                arguments: serde_json::json!({
                    "folder": folder, "pattern": topic.pattern, "case_sensitive": false, "most": 100,
                })
                .to_string(),
            })
            .collect();
        let mut findings = Vec::new();
        for (topic, result) in TOPICS.iter().zip(tools::call_all(&requests)) {
            let result = result?;
            let text = result.structured.unwrap_or_else(|| text_of(&result.content));
            if result.is_error {
                return Err(Error::Failed(text));
            }
            findings.push(Finding::read(topic, &text).map_err(Error::Failed)?);
        }
        progress(1.0, "writing the review");

        let plain = report::write(&folder, &findings);
        let question = messages.last().map(|m| text_of(&m.content)).unwrap_or_default();
        let answer = match first_model()? {
            Some(model) => ask(model, &question, &plain)?,
            None => plain,
        };
        Ok(vec![Part::Text(answer)])
    }
}

/// Progress is a courtesy: whoever does not grant it or does not listen misses nothing else.
fn progress(done: f64, message: &str) {
    let _ = output::progress(&ProgressReport {
        done,
        total: Some(2.0),
        message: Some(message.to_owned()),
    });
}

fn first_model() -> Result<Option<String>, Error> {
    match models::list() {
        Ok(models) => Ok(models.into_iter().next().map(|model| model.name)),
        Err(Error::Denied(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ask(model: String, question: &str, findings: &str) -> Result<String, Error> {
    let message = |role, text: String| Message {
        role,
        content: vec![Part::Text(text)],
        tool_calls: Vec::new(),
        tool_results: Vec::new(),
    };
    let completion = models::complete(&Request {
        model,
        messages: vec![
            message(
                Role::System,
                "You review documents. Order the findings by how much they matter, say why, and quote \
                 file and line of each. Invent nothing."
                    .to_owned(),
            ),
            message(Role::User, format!("{question}\n\nFindings:\n{findings}")),
        ],
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        options: Options {
            temperature: None,
            top_p: None,
            max_tokens: Some(2000),
            stop: Vec::new(),
            seed: None,
            response_schema: None,
        },
    })?;
    Ok(text_of(&completion.message.content))
}

export!(Reviewer);
