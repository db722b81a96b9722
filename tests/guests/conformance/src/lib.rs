//! The tools that the MCP conformance suite calls, with the contents that it expects.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "ringfence:conformance/fixtures",
    generate_all,
});

use ringfence::agent::output::{self, ProgressReport};
use ringfence::agent::types::{Blob, EmbeddedResource, ResourceBody};

/// A red picture of one pixel.
const PNG: &[u8] = include_bytes!("pixel.png");
/// A tenth of a second of silence.
const WAV: &[u8] = include_bytes!("silence.wav");

struct Fixtures;

impl Guest for Fixtures {
    fn test_simple_text() -> Vec<Part> {
        vec![text("This is a simple text response for testing.")]
    }

    fn test_image_content() -> Vec<Part> {
        vec![image()]
    }

    fn test_audio_content() -> Vec<Part> {
        vec![Part::Audio(Blob {
            mime_type: "audio/wav".to_owned(),
            data: WAV.to_vec(),
        })]
    }

    fn test_embedded_resource() -> Vec<Part> {
        vec![document(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )]
    }

    fn test_multiple_content_types() -> Vec<Part> {
        vec![
            text("Multiple content types test:"),
            image(),
            document(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            ),
        ]
    }

    fn test_error_handling() -> Result<String, String> {
        Err("This tool intentionally returns an error for testing".to_owned())
    }

    fn test_tool_with_progress() -> Result<String, String> {
        for done in [0, 50, 100] {
            output::progress(&ProgressReport {
                done: f64::from(done),
                total: Some(100.0),
                message: Some(format!("Completed step {done} of 100")),
            })
            .map_err(|error| format!("progress was not taken: {error:?}"))?;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok("Progress test completed".to_owned())
    }

    fn slow_compute(duration_ms: Option<u32>) -> String {
        let duration = duration_ms.unwrap_or(100).min(10_000);
        std::thread::sleep(std::time::Duration::from_millis(duration.into()));
        format!("Computed for {duration} ms")
    }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn image() -> Part {
    Part::Image(Blob {
        mime_type: "image/png".to_owned(),
        data: PNG.to_vec(),
    })
}

fn document(uri: &str, mime_type: &str, text: &str) -> Part {
    Part::Resource(EmbeddedResource {
        uri: uri.to_owned(),
        mime_type: Some(mime_type.to_owned()),
        body: ResourceBody::Text(text.to_owned()),
    })
}

export!(Fixtures);
