//! What a run gives and sends, in the sizes that an object can hold. Pure.

use ringfence_api::{
    RUN_MESSAGE_BYTES, RUN_OUTPUT_BYTES, RUN_PROGRESS_BYTES, RunOutput, RunProgress, head,
};
use serde_json::{Value, json};

use crate::message::{Part, text_of};
use crate::output::OutputEvent;

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gave {
    pub(super) content: Vec<Part>,
    pub(super) structured: Option<Value>,
}

impl Gave {
    /// The output as an object can show it, or the document for the blob store where it is too large.
    pub(super) fn output(self) -> Result<RunOutput, Vec<u8>> {
        let plain = self
            .content
            .iter()
            .all(|part| matches!(part, Part::Text(_)));
        let parts = match plain {
            true => Vec::new(),
            false => self.content.iter().map(|part| json!(part)).collect(),
        };
        let output = RunOutput {
            text: Some(text_of(&self.content)),
            structured: self.structured,
            content: parts,
            blob: None,
        };
        // It holds nothing that JSON cannot.
        let document = serde_json::to_vec(&output).unwrap_or_default();
        match document.len() <= RUN_OUTPUT_BYTES {
            true => Ok(output),
            false => Err(document),
        }
    }
}

/// What a run has sent so far: the end of its text, and how far it is.
#[derive(Debug, Default)]
pub(super) struct Tail {
    progress: RunProgress,
    changed: bool,
}

impl Tail {
    pub(super) fn take(&mut self, event: &OutputEvent) {
        self.changed = true;
        match event {
            OutputEvent::Part(part) => {
                let text = text_of(std::slice::from_ref(part));
                self.progress.text.push_str(&text);
                let over = self.progress.text.len().saturating_sub(RUN_PROGRESS_BYTES);
                let from = (over..=self.progress.text.len())
                    .find(|at| self.progress.text.is_char_boundary(*at));
                self.progress.text.drain(..from.unwrap_or(0));
            }
            OutputEvent::Progress(progress) => {
                // What is no number cannot be told as one.
                let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
                self.progress.done = finite(Some(progress.done));
                self.progress.total = finite(progress.total);
                let message = progress.message.clone();
                self.progress.message = message.map(|text| head(text, RUN_MESSAGE_BYTES));
            }
        }
    }

    /// What there is to show, if that is something new.
    pub(super) fn news(&mut self) -> Option<RunProgress> {
        std::mem::take(&mut self.changed).then(|| self.progress.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Progress;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn what_fits_is_shown_and_what_does_not_is_a_document() {
        let gave = |length| Gave {
            content: vec![text(&"x".repeat(length))],
            structured: Some(json!(1)),
        };
        let room = RUN_OUTPUT_BYTES - r#"{"text":"","structured":1}"#.len();
        let output = gave(room).output().unwrap();
        assert_eq!(output.text.map(|text| text.len()), Some(room));
        assert_eq!(output.content, Vec::<Value>::new());
        let document = gave(room + 1).output().unwrap_err();
        let read: RunOutput = serde_json::from_slice(&document).unwrap();
        assert_eq!(read.structured, Some(json!(1)));
    }

    #[test]
    fn the_newest_text_is_kept_within_its_bound() {
        let mut tail = Tail::default();
        assert_eq!(tail.news(), None);
        tail.take(&OutputEvent::Part(text(&"ä".repeat(RUN_PROGRESS_BYTES))));
        tail.take(&OutputEvent::Part(text("end")));
        let news = tail.news().unwrap();
        assert!(news.text.len() <= RUN_PROGRESS_BYTES && news.text.ends_with("äend"));
        assert_eq!(tail.news(), None, "nothing new, nothing to write");
        tail.take(&OutputEvent::Progress(Progress {
            done: f64::NAN,
            total: Some(2.0),
            message: Some("m".repeat(RUN_MESSAGE_BYTES * 2)),
        }));
        let news = tail.news().unwrap();
        assert_eq!((news.done, news.total), (None, Some(2.0)));
        assert_eq!(news.message.map(|text| text.len()), Some(RUN_MESSAGE_BYTES));
    }
}
