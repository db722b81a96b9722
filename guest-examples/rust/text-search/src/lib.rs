//! A tool that searches text files. It sees only the folders that its resource grants; to it, no other
//! file exists.

mod search;
mod walk;

wit_bindgen::generate!({ path: "wit" });

struct TextSearch;

impl Guest for TextSearch {
    fn list_files(folder: String, suffix: Option<String>) -> Result<Vec<File>, String> {
        let files = walk::files(&folder, suffix.as_deref().unwrap_or_default())?;
        Ok(files.into_iter().map(|(path, bytes)| File { path, bytes }).collect())
    }

    fn find(
        folder: String,
        pattern: String,
        suffix: Option<String>,
        case_sensitive: Option<bool>,
        context: Option<u32>,
        most: Option<u32>,
    ) -> Result<Findings, String> {
        let pattern = regex_lite::RegexBuilder::new(&pattern)
            .case_insensitive(!case_sensitive.unwrap_or(false))
            .build()
            .map_err(|error| format!("the pattern is not a regular expression: {error}"))?;
        let context = context.unwrap_or(0).min(10) as usize;
        let most = most.unwrap_or(50).min(500) as usize;
        let files = walk::files(&folder, suffix.as_deref().unwrap_or_default())?;
        let mut findings = Findings {
            hits: Vec::new(),
            files_searched: 0,
            truncated: false,
        };
        for (path, _) in files {
            // What is no text, or has gone since, has no lines to match.
            let Ok(text) = walk::read(&path) else { continue };
            findings.files_searched += 1;
            for found in search::find(&text, &pattern, context) {
                if findings.hits.len() == most {
                    findings.truncated = true;
                    return Ok(findings);
                }
                findings.hits.push(Hit {
                    path: path.clone(),
                    line: found.line,
                    text: found.text,
                    before: found.before,
                    after: found.after,
                });
            }
        }
        Ok(findings)
    }

    fn read_lines(path: String, start: Option<u32>, count: Option<u32>) -> Result<String, String> {
        let text = walk::read(&path)?;
        let start = start.unwrap_or(1).max(1) as usize;
        let count = count.unwrap_or(200).min(2000) as usize;
        let lines: Vec<_> = text.lines().skip(start - 1).take(count).collect();
        if lines.is_empty() && start > 1 {
            return Err(format!("{path} has only {} lines", text.lines().count()));
        }
        Ok(lines.join("\n"))
    }
}

export!(TextSearch);
