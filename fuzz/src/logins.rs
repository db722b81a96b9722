//! No file of logins panics its reader, and a login counts for no registry but its own.

use ringfence_host::artifact::oci::{Keyring, LOGINS};

/// Reads the bytes as an image, the end of a line, and a Docker `config.json`.
pub fn logins(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (image, json) = text.split_once('\n').unwrap_or(("r.example/a:1", text));
    let Ok(mut keyring) = Keyring::of(image) else {
        return;
    };
    let registry = keyring.registry().to_ascii_lowercase();
    let read = keyring.add("secret", json);
    let Ok(found) = keyring.logins() else {
        return;
    };
    assert!(found.len() <= LOGINS);
    // Patterns, escapes and Docker's own registry are other ways to name it.
    let plain = !json.contains(['*', '\\']) && registry != "docker.io";
    if read.is_ok() && plain && !found.is_empty() {
        let named = json.to_ascii_lowercase().contains(&registry);
        assert!(
            named,
            "a login for {registry} in a file that does not name it"
        );
    }
}
