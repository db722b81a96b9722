//! Where conversations are kept: each has a home, which all hosts work out alike from its name and the hosts
//! that there are (rendezvous hashing), so that it goes on wherever its agent runs next. A host that leaves
//! hands its conversations over; one that joins fetches what has moved to it when it is asked.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use ringfence_api::Name;

use super::client::AskError;
use super::health::Sign;
use super::hosts::Peer;
use super::outgoing::message;
use super::protocol::frame::FrameKind;
use super::protocol::reader::whole;
use super::protocol::wire::{Answer, Ask, SessionAsk};
use super::router::Router;
use crate::error::CallError;
use crate::message::Message;
use crate::session::{SessionKey, Sessions};

/// How long the host that keeps a conversation may take.
pub(crate) const KEEPER: Duration = Duration::from_secs(5);
/// Former homes that are asked for a conversation that is not where it should be.
const FORMER: usize = 2;
/// Conversations that are handed over at the same time.
const AT_ONCE: usize = 16;

/// The hosts in the order in which they would keep a conversation.
fn order(key: &SessionKey, mut hosts: Vec<(Name, Peer)>) -> Vec<(Name, Peer)> {
    hosts.sort_by_cached_key(|(host, _)| std::cmp::Reverse(weight(key, host)));
    hosts
}

/// How much a host is for keeping a conversation. Hosts of all versions have to agree on it, so that it
/// hangs on no library: FNV-1a, finished as in SplitMix64.
fn weight(key: &SessionKey, host: &Name) -> u64 {
    let parts = [
        key.tenant.as_str(),
        key.agent.as_str(),
        &key.session,
        host.as_str(),
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // Names hold no zero byte, so that it keeps them apart.
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn may_keep(peer: &Peer) -> bool {
    !peer.draining && !peer.lost && peer.address.is_some()
}

impl From<&SessionKey> for SessionAsk {
    fn from(key: &SessionKey) -> Self {
        Self {
            tenant: key.tenant.clone(),
            agent: key.agent.clone(),
            session: key.session.clone(),
        }
    }
}

impl From<SessionAsk> for SessionKey {
    fn from(ask: SessionAsk) -> Self {
        Self {
            tenant: ask.tenant,
            agent: ask.agent,
            session: ask.session,
        }
    }
}

impl Router {
    /// Another host that keeps a conversation now; none where this one does.
    fn home(&self, key: &SessionKey) -> Option<(Name, SocketAddr)> {
        let hosts = self.hosts.all();
        let keepers = hosts
            .into_iter()
            .filter(|(_, peer)| may_keep(peer))
            .collect();
        let (home, peer) = order(key, keepers).into_iter().next()?;
        (home != self.own).then_some((home, peer.address?))
    }

    /// The newest messages of a conversation, oldest first.
    ///
    /// # Errors
    /// `unavailable` when its home cannot be asked, `failed` when the database refuses.
    pub(crate) async fn history(
        &self,
        own: &Sessions,
        key: SessionKey,
        most: u32,
    ) -> Result<Vec<Message>, CallError> {
        let Some((home, address)) = self.home(&key) else {
            return self.history_here(own, key, most, true).await;
        };
        let session = SessionAsk::from(&key);
        let ask = Ask::History {
            session,
            most,
            fetch: true,
        };
        match self.keeper(&home, address, &ask).await? {
            Answer::History(history) => history,
            _ => Err(unexpected(&home)),
        }
    }

    /// The same, of what this host keeps. Where that is nothing and `fetch` says so, the hosts that kept it
    /// before are asked.
    pub(crate) async fn history_here(
        &self,
        own: &Sessions,
        key: SessionKey,
        most: u32,
        fetch: bool,
    ) -> Result<Vec<Message>, CallError> {
        let kept = own.history(key.clone(), most).await?;
        if !kept.is_empty() || !fetch {
            return Ok(kept);
        }
        let former = order(&key, self.hosts.all()).into_iter();
        let former = former.filter(|(host, _)| *host != self.own).take(FORMER);
        for (host, peer) in former {
            let Some(address) = peer.address else {
                continue;
            };
            let session = SessionAsk::from(&key);
            let ask = Ask::History {
                session,
                most: u32::MAX,
                fetch: false,
            };
            if let Ok(Answer::History(Ok(messages))) = self.keeper(&host, address, &ask).await
                && !messages.is_empty()
            {
                own.adopt(key.clone(), messages).await?;
                return own.history(key, most).await;
            }
        }
        Ok(kept)
    }

    /// Adds messages to a conversation.
    ///
    /// # Errors
    /// As [`Sessions::append`]; `unavailable` when its home cannot be reached, `unknown-outcome` when it went
    /// away meanwhile.
    pub(crate) async fn append(
        &self,
        own: &Sessions,
        key: SessionKey,
        messages: Vec<Message>,
    ) -> Result<(), CallError> {
        let Some((home, address)) = self.home(&key) else {
            // What was said before comes first.
            self.history_here(own, key.clone(), 1, true).await?;
            return own.append(key, messages).await;
        };
        let session = SessionAsk::from(&key);
        let ask = Ask::Append { session, messages };
        match self.keeper(&home, address, &ask).await? {
            Answer::Kept(kept) => kept,
            _ => Err(unexpected(&home)),
        }
    }

    /// Hands over what this host keeps to those that keep it from now on. What nobody takes stays on its disk.
    pub(crate) async fn hand_over(&self, own: &Sessions) {
        let keys = own.keys().await.unwrap_or_default();
        let handed = stream::iter(keys).map(|key| async move {
            let (home, address) = self.home(&key)?;
            let messages = own.history(key.clone(), u32::MAX).await.ok()?;
            let ask = Ask::Adopt { session: (&key).into(), messages };
            match self.keeper(&home, address, &ask).await {
                Ok(Answer::Kept(Ok(()))) => Some(()),
                _ => {
                    tracing::warn!(tenant = %key.tenant, agent = %key.agent, %home, "a conversation was not handed over");
                    None
                }
            }
        });
        let count = handed
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .count()
            .await;
        if count > 0 {
            tracing::info!(count, "conversations were handed over");
        }
    }

    async fn keeper(
        &self,
        host: &Name,
        address: SocketAddr,
        ask: &Ask<'_>,
    ) -> Result<Answer, CallError> {
        let away = || {
            CallError::Unavailable(format!(
                "host {host} keeps the conversation and cannot be reached"
            ))
        };
        let gone = || {
            CallError::UnknownOutcome(format!(
                "host {host}, which keeps the conversation, went away"
            ))
        };
        let body = whole(message(ask)?);
        let asked = async {
            let (mut reader, _in_flight) = match self.client.ask(host, address, body).await {
                Ok(begun) => begun,
                Err(AskError::Gone(_)) => return Err((Sign::Broke, gone())),
                Err(AskError::Unreachable(_)) => return Err((Sign::Unreachable, away())),
                // It answered, if only with a refusal.
                Err(AskError::Declined(..)) => return Err((Sign::Answered, away())),
            };
            match reader.next().await {
                Ok(Some(frame)) if frame.kind == FrameKind::Answer => Ok(frame.content),
                _ => Err((Sign::Broke, gone())),
            }
        };
        match tokio::time::timeout(KEEPER, asked).await {
            Ok(Ok(content)) => {
                self.client.note(host, Sign::Answered);
                match serde_json::from_slice(&content) {
                    Ok(Answer::Refused(_)) => Err(away()),
                    Ok(answer) => Ok(answer),
                    Err(_) => Err(unexpected(host)),
                }
            }
            Ok(Err((sign, error))) => {
                self.client.note(host, sign);
                Err(error)
            }
            Err(_) => {
                self.client.note(host, Sign::Broke);
                Err(gone())
            }
        }
    }
}

fn unexpected(host: &Name) -> CallError {
    CallError::Failed(format!("host {host} gave an answer that does not fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> SessionKey {
        SessionKey {
            tenant: "default".parse().unwrap(),
            agent: "helper".parse().unwrap(),
            session: format!("s-{n}").into(),
        }
    }

    fn hosts(names: &[&str]) -> Vec<(Name, Peer)> {
        let peer = Peer {
            address: None,
            draining: false,
            lost: false,
        };
        names
            .iter()
            .map(|name| (name.parse().unwrap(), peer))
            .collect()
    }

    fn first(n: usize, names: &[&str]) -> String {
        order(&key(n), hosts(names))[0].0.to_string()
    }

    #[test]
    fn only_what_a_host_kept_moves_when_it_leaves() {
        let mut moved = 0;
        for n in 0..1000 {
            let before = first(n, &["a", "b", "c"]);
            let after = first(n, &["c", "a"]);
            if before == "b" {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((250..420).contains(&moved), "{moved} of 1000");
    }

    #[test]
    fn a_host_that_joins_finds_what_it_keeps_at_the_second() {
        for n in 0..200 {
            let now = order(&key(n), hosts(&["a", "b", "c"]));
            if now[0].0.as_str() == "c" {
                assert_eq!(now[1].0.as_str(), first(n, &["a", "b"]));
            }
        }
    }

    #[test]
    fn all_versions_agree() {
        assert_eq!(
            weight(&key(1), &"a".parse().unwrap()),
            0x7ed7_fff2_2800_db79
        );
    }
}
