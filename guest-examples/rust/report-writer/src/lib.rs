//! A tool that saves texts into `/output`, which its resource grants for writing.

wit_bindgen::generate!({ path: "wit" });

struct ReportWriter;

impl Guest for ReportWriter {
    fn save(name: String, text: String) -> Result<Saved, String> {
        check(&name)?;
        let path = format!("/output/{name}");
        // Written beside and renamed, so that a reader never finds half a report.
        let partial = format!("/output/.{name}.partial");
        std::fs::write(&partial, &text)
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|error| format!("cannot save {path}: {error}"))?;
        Ok(Saved {
            path,
            bytes: text.len() as u64,
        })
    }
}

/// The host keeps the tool inside its folder anyway; this keeps it from hiding or nesting files there.
fn check(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(fine) {
        return Err(format!(
            "{name:?} is no name for a report: use 1 to 100 letters, digits, '-', '_' and '.', not starting with '.'"
        ));
    }
    Ok(())
}

export!(ReportWriter);

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_name_is_one_plain_file() {
        assert!(check("report-2.md").is_ok());
        for bad in ["", ".hidden", "../up", "a/b", "ä", &"a".repeat(101)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
