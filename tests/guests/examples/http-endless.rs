//! A web server whose body never ends: crosses `output-bytes`.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        drop(request);
        let answer = OutgoingResponse::new(Fields::new());
        let body = answer.body().expect("the body is taken once");
        ResponseOutparam::set(response, Ok(answer));
        let stream = body.write().expect("the stream is taken once");
        while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Server);
