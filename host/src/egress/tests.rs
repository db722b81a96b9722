//! Egress over real sockets.
