//! The peer of `mcp_call_ratio`: what axum alone makes of the same requests.

use std::process::Command;

use anyhow::Result;
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::server::{Announces, Server};

/// First argument of the process that serves.
pub(crate) const ROLE: &str = "echo-server";

/// Starts it as a process of its own, as the host is one.
pub(crate) fn start() -> Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE);
    Server::start(command, &Announces::Stdout)
}

/// Serves until the process is ended: a POST is answered with its own body.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        // As the host does: small answers do not wait.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let echo = Router::new().route("/", post(|body: Bytes| async { body }));
        axum::serve(listener, echo).await?;
        Ok(())
    })
}
