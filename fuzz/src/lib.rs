//! What strangers send, as functions of bytes: none of them may panic, whatever the bytes are. Programs
//! in `fuzz_targets/` let libFuzzer look for such bytes; `tests/bytes.rs` tries some in every test run.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    reason = "a target says what it found by panicking"
)]

mod arguments;
mod inspect;
mod logins;
mod manifests;
mod seeds;
mod urls;

pub use arguments::{TYPE_END, arguments};
pub use inspect::inspect;
pub use logins::logins;
pub use manifests::manifests;
pub use seeds::{Seeds, argument_seeds, inspect_seeds, login_seeds, manifest_seeds, url_seeds};
pub use urls::urls;
