//! Whether the process at an address has ended.
//!
//! Only a refusal says so: it comes from a machine that is up, and on which nothing listens there. Everything else,
//! and above all no answer, may as well be the network.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Refusals in a row that are believed: a process that starts anew may be between two sockets.
const REFUSALS: u32 = 2;
/// How long after a try comes the next.
const AGAIN: Duration = Duration::from_millis(250);
/// How long one may take.
const ANSWER: Duration = Duration::from_secs(1);

/// Looks until the process has ended, which is true, or for as long as `patience`. A connection is made and closed;
/// nothing is sent.
pub(crate) async fn ended(address: SocketAddr, patience: Duration) -> bool {
    let refused = async {
        let mut refusals = 0;
        loop {
            match timeout(ANSWER, TcpStream::connect(address)).await {
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => refusals += 1,
                _ => refusals = 0,
            }
            if refusals == REFUSALS {
                return;
            }
            sleep(AGAIN).await;
        }
    };
    timeout_at(Instant::now() + patience, refused).await.is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_process_that_listens_has_not_ended_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!ended(address, AGAIN * 3).await);
        let looking = tokio::spawn(ended(address, LONG));
        let accepted = listener.accept().await.unwrap();
        drop((accepted, listener));
        assert!(looking.await.unwrap());
    }

    #[tokio::test]
    async fn one_that_hangs_has_not_ended() {
        // What nobody accepts waits; what does not fit among that gets no answer at all.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(AGAIN, TcpStream::connect(address)).await {
            held.push(stream);
        }
        assert!(!ended(address, ANSWER * 2).await);
    }
}
