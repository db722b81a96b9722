//! MCP servers over real sockets.
