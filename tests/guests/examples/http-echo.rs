//! Behaves well: a web server that answers with method, path and body of the request.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let method = format!("{:?}", request.method());
        let path = request.path_with_query().unwrap_or_default();
        let mut text = format!("{method} {path}\n").into_bytes();
        if let Ok(body) = request.consume()
            && let Ok(stream) = body.stream()
        {
            while let Ok(mut piece) = stream.blocking_read(64 << 10) {
                text.append(&mut piece);
            }
        }
        let fields = Fields::new();
        let _ = fields.append("content-type", b"text/plain");
        let answer = OutgoingResponse::new(fields);
        let body = answer.body().expect("the body is taken once");
        ResponseOutparam::set(response, Ok(answer));
        let stream = body.write().expect("the stream is taken once");
        for piece in text.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Server);
