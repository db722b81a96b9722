//! Host side of the guest contract in `wit/`, generated.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "ringfence:agent/agent",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "ringfence:agent/models.completion-stream": crate::capability::OpenStream,
    },
});
