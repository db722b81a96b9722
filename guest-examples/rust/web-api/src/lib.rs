//! A tool that reads JSON from web APIs. Which ones is not its business: the host lets through what the
//! resource grants, adds the credentials, and answers the rest with an error.

mod http;

wit_bindgen::generate!({ path: "wit" });

struct WebApi;

impl Guest for WebApi {
    fn get_json(url: String, pointer: Option<String>) -> Result<String, String> {
        let (status, body) = http::get(&url)?;
        if !(200..300).contains(&status) {
            let start: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(format!("{url} answered {status}: {start}"));
        }
        let value: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|error| format!("{url} did not answer with JSON: {error}"))?;
        let picked = match pointer.as_deref() {
            None | Some("") => &value,
            Some(pointer) => value
                .pointer(pointer)
                .ok_or_else(|| format!("the answer has nothing at {pointer}"))?,
        };
        Ok(picked.to_string())
    }
}

export!(WebApi);
