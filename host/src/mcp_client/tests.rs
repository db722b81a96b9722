//! MCP servers over real sockets: rmcp's own server, in every mode that it has.

mod changes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use http::StatusCode;
use ringfence_api::{AddressScope, HeaderSpec, McpSpec, SecretRef};
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;

use super::*;
use crate::egress::{Egress, EgressSettings};
use crate::error::CallError;
use crate::message::Part;
use crate::secret::{AllowedSecret, Secrets};

#[derive(Clone)]
struct Fixture;

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str, size: usize| {
            let schema = json!({"type": "object", "title": "x".repeat(size)});
            Tool::new(
                name,
                "a function",
                Arc::new(schema.as_object().unwrap().clone()),
            )
        };
        let second = request.is_some_and(|page| page.cursor.is_some());
        let mut page = ListToolsResult::default();
        if second {
            page.tools = vec![tool("fail", 0)];
        } else {
            page.tools = vec![tool("echo", 0), tool("huge", MCP_FUNCTION_BYTES)];
            page.next_cursor = Some("2".to_owned());
        }
        Ok(page)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = serde_json::to_string(&request.arguments).unwrap();
        let content = vec![ContentBlock::text(arguments)];
        match &*request.name {
            "echo" => Ok(CallToolResponse::Complete(CallToolResult::success(content))),
            "fail" => Ok(CallToolResponse::Complete(CallToolResult::error(content))),
            "slow" => std::future::pending().await,
            other => Err(ErrorData::invalid_params(format!("no {other}"), None)),
        }
    }
}

/// A server, and a switch that makes it answer 500.
async fn serve(config: StreamableHttpServerConfig) -> (McpSpec, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = broken.clone();
    let guard = from_fn(move |request: Request, next: Next| {
        let broken = switch.load(Ordering::SeqCst);
        async move {
            assert_eq!(request.headers()["x-key"], "ringfence-host");
            match broken {
                true => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                false => next.run(request).await,
            }
        }
    });
    let manager = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(|| Ok(Fixture), manager, config);
    let router = Router::new().route_service("/mcp", service).layer(guard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let header = HeaderSpec {
        name: "x-key".to_owned(),
        value: None,
        value_from: Some(SecretRef::Env("CARGO_PKG_NAME".to_owned())),
    };
    let spec = McpSpec {
        url: url.parse().unwrap(),
        headers: vec![header],
        addresses: AddressScope::Private,
        poll_ms: None,
        timeout_ms: Some(5000),
    };
    (spec, broken)
}

fn egress() -> Egress {
    let key = SecretRef::Env("CARGO_PKG_NAME".to_owned());
    let secrets = Secrets::new([AllowedSecret::Host(key)]);
    Egress::new(&EgressSettings::default(), secrets).unwrap()
}

fn arguments() -> JsonObject {
    json!({"x": [1, "ü"]}).as_object().unwrap().clone()
}

#[tokio::test]
async fn functions_are_listed_and_called_with_and_without_sessions() {
    for sessions in [true, false] {
        let mut config = StreamableHttpServerConfig::default();
        config.legacy_session_mode = sessions;
        let (spec, _) = serve(config).await;
        let server = McpServer::connect(&spec, &egress()).unwrap();
        let functions = server.functions().await.unwrap();
        let names: Vec<_> = functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["echo", "fail"]);
        assert_eq!(server.status().left_out, 1);
        let result = server.call("echo", arguments()).await.unwrap();
        assert_eq!(result.content, [Part::Text(r#"{"x":[1,"ü"]}"#.to_owned())]);
        assert!(!result.is_error);
        assert!(server.call("fail", arguments()).await.unwrap().is_error);
        let error = server.call("other", arguments()).await.unwrap_err();
        assert!(matches!(error, CallError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn a_failed_look_removes_nothing_and_is_seen() {
    let (spec, broken) = serve(StreamableHttpServerConfig::default()).await;
    let server = McpServer::connect(&spec, &egress()).unwrap();
    let before = server.functions().await.unwrap();
    assert!(server.status().last_error.is_none());
    broken.store(true, Ordering::SeqCst);
    server.refresh();
    let failed = async {
        while server.status().failures == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), failed)
        .await
        .unwrap();
    let status = server.status();
    assert!(status.last_error.is_some() && status.last_success.is_some());
    assert_eq!(server.functions().await.unwrap(), before);
    broken.store(false, Ordering::SeqCst);
    server.refresh();
    let healed = async {
        while server.status().failures > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), healed)
        .await
        .unwrap();
    server.call("echo", arguments()).await.unwrap();
}

#[tokio::test]
async fn a_slow_call_times_out_and_nobody_there_is_unavailable() {
    let (mut spec, _) = serve(StreamableHttpServerConfig::default()).await;
    spec.timeout_ms = Some(500);
    let server = McpServer::connect(&spec, &egress()).unwrap();
    assert_eq!(
        server.call("slow", arguments()).await,
        Err(CallError::Timeout)
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    spec.url = format!("http://{}/mcp", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(listener);
    let server = McpServer::connect(&spec, &egress()).unwrap();
    assert_eq!(server.functions().await.unwrap_err().code(), "unavailable");
    assert_eq!(
        server.call("echo", arguments()).await.unwrap_err().code(),
        "unavailable"
    );
}

#[tokio::test]
async fn resources_that_cannot_be_enforced_are_refused() {
    let (spec, _) = serve(StreamableHttpServerConfig::default()).await;
    let connect = |spec: McpSpec| McpServer::connect(&spec, &egress()).map(|_| ());
    let poll = McpSpec {
        poll_ms: Some(999),
        ..spec.clone()
    };
    assert!(matches!(connect(poll), Err(McpError::Poll)));
    let timeout = McpSpec {
        timeout_ms: Some(0),
        ..spec.clone()
    };
    assert!(matches!(connect(timeout), Err(McpError::Timeout)));
    let none = Egress::new(&EgressSettings::default(), Secrets::default()).unwrap();
    assert!(matches!(
        McpServer::connect(&spec, &none),
        Err(McpError::Secret(_))
    ));
}
