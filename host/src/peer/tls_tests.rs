use std::time::UNIX_EPOCH;

use parking_lot::Mutex;
use rcgen::SanType;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::testing::{Authority, VALID};
use super::*;

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// What comes of `from` dialling `to` in the belief that it is `believed`: whom `to` saw.
async fn meet(from: &PeerTls, to: &PeerTls, believed: &str) -> Result<Name, PeerTlsError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialling = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = from.connect(&name(believed), stream).await?;
        // In TLS 1.3 a client learns from the first byte whether it was accepted.
        stream.read_u8().await.map_err(PeerTlsError::Handshake)
    };
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, name) = to.accept(stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(PROTOCOL));
        stream.write_u8(1).await.map_err(PeerTlsError::Handshake)?;
        stream.shutdown().await.map_err(PeerTlsError::Handshake)?;
        Ok(name)
    };
    let (dialled, accepted) = tokio::join!(dialling, accepting);
    let accepted = accepted?;
    dialled?;
    Ok(accepted)
}

#[tokio::test]
async fn each_side_knows_the_other() {
    let authority = Authority::new();
    let (a, b) = (authority.host("a"), authority.host("b"));
    assert_eq!(meet(&a, &b, "b").await.unwrap(), name("a"));
    assert_eq!(meet(&b, &a, "a").await.unwrap(), name("b"));
    let left = a.expires().unwrap().duration_since(SystemTime::now());
    assert!(left.unwrap() > VALID - Duration::from_secs(60));
}

#[tokio::test]
async fn another_host_at_the_address_is_refused() {
    let authority = Authority::new();
    let (a, b) = (authority.host("a"), authority.host("b"));
    let error = meet(&a, &b, "c").await.unwrap_err();
    assert!(matches!(error, PeerTlsError::Handshake(_)), "{error}");
}

#[tokio::test]
async fn another_authority_does_not_count() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (a, b) = (ours.host("a"), theirs.host("b"));
    for (from, to, believed) in [(&a, &b, "b"), (&b, &a, "a")] {
        let error = meet(from, to, believed).await.unwrap_err();
        assert!(matches!(error, PeerTlsError::Handshake(_)), "{error}");
    }
    // Half of an overlap is not enough: each side has to believe the other.
    let mut both = ours.credentials("a");
    both.authorities.push(theirs.certificate());
    a.set(both).unwrap();
    assert!(meet(&a, &b, "b").await.is_err());
    let mut both = theirs.credentials("b");
    both.authorities.push(ours.certificate());
    b.set(both).unwrap();
    assert_eq!(meet(&a, &b, "b").await.unwrap(), name("a"));
}

#[tokio::test]
async fn without_a_certificate_there_is_no_way() {
    let authority = Authority::new();
    let (a, nobody) = (authority.host("a"), PeerTls::new(name("b")));
    assert!(nobody.server_config().is_none() && nobody.expires().is_none());
    let error = meet(&nobody, &a, "a").await.unwrap_err();
    assert!(matches!(
        error,
        PeerTlsError::NoCertificate | PeerTlsError::Handshake(_)
    ));
    let waiting = tokio::spawn({
        let nobody = nobody.clone();
        async move { nobody.ready().await }
    });
    nobody.set(authority.credentials("b")).unwrap();
    waiting.await.unwrap();
    assert_eq!(meet(&nobody, &a, "a").await.unwrap(), name("b"));

    // A client that shows none at all.
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let anonymous = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(a.one_host(&name("a"), roots.into())))
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialling = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = server_name().unwrap();
        let connector = TlsConnector::from(Arc::new(anonymous));
        let stream = connector.connect(name, stream).await;
        drop(stream.unwrap().read_u8().await.unwrap_err());
    };
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(matches!(
            a.accept(stream).await,
            Err(PeerTlsError::Handshake(_))
        ));
    };
    tokio::join!(dialling, accepting);
}

#[test]
fn credentials_have_to_be_of_this_host() {
    let authority = Authority::new();
    let soon = SystemTime::now() + VALID;
    let id = |id: &str| SanType::URI(id.try_into().unwrap());
    let own = "spiffe://ringfence.dev/host/a";
    let dns = SanType::DnsName("a".try_into().unwrap());
    let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
    let tls = PeerTls::new(name("a"));
    for names in [
        vec![],
        vec![id("spiffe://ringfence.dev/host/b")],
        vec![id(own), id("spiffe://ringfence.dev/host/b")],
        vec![id(own), dns.clone()],
        vec![id(own), address],
        vec![dns],
    ] {
        let refused = tls.set(authority.issue(names.clone(), soon));
        assert!(
            matches!(refused, Err(PeerTlsError::Refused(_))),
            "{names:?}"
        );
    }
    let expired = authority.issue(vec![id(own)], SystemTime::now() - Duration::from_secs(1));
    assert!(tls.set(expired).is_err());
    let mut mixed = authority.credentials("a");
    mixed.key = authority.credentials("a").key;
    assert!(tls.set(mixed).is_err(), "the key of another certificate");
    let mut unknown = authority.credentials("a");
    unknown.authorities = vec![Authority::new().certificate()];
    assert!(tls.set(unknown).is_err(), "of an authority that counts not");
    let mut none = authority.credentials("a");
    none.chain.clear();
    assert!(tls.set(none).is_err());
    assert!(tls.server_config().is_none(), "nothing of it was taken");
    tls.set(authority.credentials("a")).unwrap();
}

#[derive(Debug)]
struct Moved(Mutex<SystemTime>);

impl TimeProvider for Moved {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.lock().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[tokio::test]
async fn what_has_run_out_is_refused_until_it_is_renewed() {
    let authority = Authority::new();
    let clock = Arc::new(Moved(Mutex::new(SystemTime::now())));
    let host = |own: &str| {
        let tls = PeerTls::with_clock(name(own), clock.clone());
        tls.set(authority.credentials(own)).unwrap();
        tls
    };
    let (a, b) = (host("a"), host("b"));
    meet(&a, &b, "b").await.unwrap();
    let later = SystemTime::now() + VALID + Duration::from_secs(1);
    *clock.0.lock() = later;
    assert!(meet(&a, &b, "b").await.is_err(), "both have run out");
    let renew = |tls: &PeerTls| {
        let id = SanType::URI(ringfence_api::peer::host_id(tls.name()).try_into().unwrap());
        tls.set(authority.issue(vec![id], later + VALID)).unwrap();
    };
    renew(&b);
    assert!(
        meet(&a, &b, "b").await.is_err(),
        "the caller's has run out still"
    );
    renew(&a);
    assert_eq!(meet(&a, &b, "b").await.unwrap(), name("a"));
}
