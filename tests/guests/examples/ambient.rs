//! Uses whatever there is without being granted it.

use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};

use ringfence_test_guest_bindings::ringfence::agent::types::{Error, Part};
use ringfence_test_guest_bindings::ringfence::agent::{agents, models, output, session, tools};
use ringfence_test_guest_bindings::{code, http_get};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Environment variables.
            export env-vars: func() -> list<tuple<string, string>>;
            /// Arguments.
            export arguments: func() -> list<string>;
            /// The working directory, where it has one.
            export initial-cwd: func() -> option<string>;
            /// Wall clock, milliseconds since 1970.
            export wall-ms: func() -> u64;
            /// Monotonic clock, nanoseconds.
            export monotonic-ns: func() -> u64;
            /// All of stdin.
            export read-stdin: func() -> result<string, string>;
            /// Connects to an address by TCP.
            export connect-tcp: func(address: string) -> result<_, string>;
            /// Resolves a host name.
            export resolve-name: func(name: string) -> result<list<string>, string>;
            /// Binds a UDP socket.
            export bind-udp: func(address: string) -> result<_, string>;
            /// Requests `http://AUTHORITY/PATH` with these headers; status and body.
            export fetch: func(authority: string, path: string, headers: list<tuple<string, string>>) -> result<tuple<u16, string>, string>;
            /// The codes of the errors that models, tools, agents, session and output answer with, by name.
            export capabilities: func() -> list<tuple<string, string>>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn env_vars() -> Vec<(String, String)> {
        wasip2::cli::environment::get_environment()
    }

    fn arguments() -> Vec<String> {
        wasip2::cli::environment::get_arguments()
    }

    fn initial_cwd() -> Option<String> {
        wasip2::cli::environment::initial_cwd()
    }

    fn wall_ms() -> u64 {
        let now = wasip2::clocks::wall_clock::now();
        now.seconds * 1000 + u64::from(now.nanoseconds) / 1_000_000
    }

    fn monotonic_ns() -> u64 {
        wasip2::clocks::monotonic_clock::now()
    }

    fn read_stdin() -> Result<String, String> {
        std::io::read_to_string(std::io::stdin()).map_err(|e| e.to_string())
    }

    fn connect_tcp(address: String) -> Result<(), String> {
        TcpStream::connect(address)
            .map(drop)
            .map_err(|e| e.to_string())
    }

    fn resolve_name(name: String) -> Result<Vec<String>, String> {
        let found = (name.as_str(), 80)
            .to_socket_addrs()
            .map_err(|e| e.to_string())?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    fn bind_udp(address: String) -> Result<(), String> {
        UdpSocket::bind(address)
            .map(drop)
            .map_err(|e| e.to_string())
    }

    fn fetch(
        authority: String,
        path: String,
        headers: Vec<(String, String)>,
    ) -> Result<(u16, String), String> {
        http_get(&authority, &path, &headers)
    }

    fn capabilities() -> Vec<(String, String)> {
        let said =
            |result: Result<(), Error>| result.map_or_else(|e| code(&e), |()| "ok".to_owned());
        let report = output::ProgressReport {
            done: 1.0,
            total: None,
            message: None,
        };
        [
            ("models", said(models::list().map(drop))),
            ("tools", said(tools::list().map(drop))),
            ("agents", said(agents::list().map(drop))),
            ("session", said(session::history(1).map(drop))),
            ("output", said(output::emit(&Part::Text("x".to_owned())))),
            ("progress", said(output::progress(&report))),
        ]
        .map(|(name, code)| (name.to_owned(), code))
        .into()
    }
}

export!(Component);
