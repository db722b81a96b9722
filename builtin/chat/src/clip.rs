//! Bounds on what results may add to the conversation: the model reads it all again each turn, and
//! the host takes only so many bytes in one call.

use crate::bindings::ringfence::agent::types::{EmbeddedResource, Message, Part, ResourceBody};

/// Most bytes of one result.
pub const RESULT_BYTES: usize = 256 << 10;
/// Most bytes of a whole conversation. The host takes 8 MiB in one call; the rest is for definitions.
pub const CONVERSATION_BYTES: usize = 6 << 20;

/// Bytes of one part.
pub fn part_size(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Image(blob) | Part::Audio(blob) => blob.mime_type.len() + blob.data.len(),
        Part::Resource(resource) => {
            let body = match &resource.body {
                ResourceBody::Text(text) => text.len(),
                ResourceBody::Bytes(bytes) => bytes.len(),
            };
            resource.uri.len() + resource.mime_type.as_ref().map_or(0, String::len) + body
        }
    }
}

/// Bytes of one message.
pub fn message_size(message: &Message) -> usize {
    let content: usize = message.content.iter().map(part_size).sum();
    let calls: usize = message
        .tool_calls
        .iter()
        .map(|call| call.id.len() + call.name.len() + call.arguments.len())
        .sum();
    let results: usize = message
        .tool_results
        .iter()
        .map(|result| result.id.len() + result.content.iter().map(part_size).sum::<usize>())
        .sum();
    content + calls + results
}

/// `parts` in at most about `most` bytes. What is left out is said in its place.
pub fn clip(parts: Vec<Part>, most: usize) -> Vec<Part> {
    let mut left = most;
    parts
        .into_iter()
        .map(|part| {
            let size = part_size(&part);
            if size <= left {
                left -= size;
                return part;
            }
            let room = std::mem::take(&mut left);
            match part {
                Part::Text(text) => Part::Text(cut(&text, room)),
                Part::Resource(EmbeddedResource {
                    uri,
                    mime_type,
                    body: ResourceBody::Text(text),
                }) => Part::Resource(EmbeddedResource {
                    body: ResourceBody::Text(cut(&text, room)),
                    uri,
                    mime_type,
                }),
                Part::Image(_) | Part::Audio(_) | Part::Resource(_) => Part::Text(format!(
                    "[{size} bytes of binary content are left out: too large]"
                )),
            }
        })
        .collect()
}

/// The start of `text`, at most `room` bytes, with a note of what is missing.
fn cut(text: &str, room: usize) -> String {
    let end = (0..=room.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!(
        "{}\n[{} more bytes are left out: ask for less at once]",
        &text[..end],
        text.len() - end
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::ringfence::agent::types::Blob;

    #[test]
    fn text_is_cut_between_characters_and_says_so() {
        let clipped = clip(vec![Part::Text("aé".repeat(10))], 5);
        assert_eq!(
            clipped,
            [Part::Text(
                "aéa\n[26 more bytes are left out: ask for less at once]".to_owned()
            )]
        );
    }

    #[test]
    fn binary_content_that_does_not_fit_is_named_not_cut() {
        let blob = Blob {
            mime_type: "image/png".to_owned(),
            data: vec![0; 100],
        };
        let clipped = clip(vec![Part::Text("ok".to_owned()), Part::Image(blob)], 50);
        let [Part::Text(first), Part::Text(second)] = &clipped[..] else {
            panic!("{clipped:?}");
        };
        assert_eq!((first.as_str(), second.contains("109 bytes")), ("ok", true));
    }
}
