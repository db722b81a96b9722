//! A web server that returns without an answer.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        drop(request);
        // Leaking keeps even the handle's drop from telling the host anything.
        std::mem::forget(response);
    }
}

wasip2::http::proxy::export!(Server);
