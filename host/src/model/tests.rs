//! Models over real sockets.
