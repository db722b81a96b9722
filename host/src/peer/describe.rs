//! What a tenant has on all hosts, for lists: agents as their instances say, functions of tools as the hosts
//! say that run them. Found out from the first time that somebody asks for a list.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use ringfence_api::{Kind, Name, TenantName};

use super::outgoing::message;
use super::protocol::frame::FrameKind;
use super::protocol::reader::whole;
use super::protocol::wire::{Answer, Ask, WireTool};
use super::replicas::Replica;
use super::router::Router;
use super::table::Tenant;
use crate::directory::{Cluster, ClusterTool, FunctionSummary};

/// How long the first list of a tenant waits for all descriptions.
pub(crate) const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long one host may take to describe one tool.
pub(crate) const DESCRIBE: Duration = Duration::from_secs(2);
/// Tools of a tenant that are described; further ones are called, but not listed by other hosts.
pub(crate) const DESCRIBED_TOOLS: usize = 1_000;
/// Bytes of the description of one tool.
pub(crate) const DESCRIPTION_BYTES: usize = 4 << 20;
/// Bytes of all descriptions of a tenant.
pub(crate) const DESCRIPTIONS_BYTES: usize = 64 << 20;
/// Tools that are asked about at the same time.
const AT_ONCE: usize = 16;
/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(20);
/// What may change without an instance changing, and what could not be found out, is looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// What is known of one tool.
#[derive(Clone)]
struct Known {
    instance: Arc<str>,
    changes: bool,
    bytes: usize,
    tool: Arc<ClusterTool>,
}

/// A tool that has to be asked about.
struct Question {
    tool: Name,
    replica: Replica,
    address: SocketAddr,
}

impl Router {
    /// Makes sure that the directory tells what a tenant has on all hosts. It waits for that when it is the
    /// first to ask, but not for long.
    pub(crate) async fn look(self: &Arc<Self>, tenant: &TenantName) {
        let Ok(tenant) = self.table.tenant(tenant).await else {
            return;
        };
        if *tenant.described.borrow() {
            return;
        }
        let mut described = tenant.described.subscribe();
        let task = (Arc::downgrade(self), Arc::downgrade(&tenant));
        tenant.describe_by(|| tokio::spawn(describe(task.0, task.1)));
        // Where it takes longer, the list is shorter.
        drop(tokio::time::timeout(FIRST_LOOK, described.wait_for(|done| *done)).await);
    }

    /// One round: asks about what is new, and puts all of it into the directory.
    async fn survey(&self, tenant: &Tenant, known: &mut HashMap<Name, Known>, again: bool) {
        let mut agents = BTreeMap::new();
        let mut tools = Vec::new();
        tenant.look(|replicas| {
            for ((kind, name), all) in replicas.all() {
                // The newest that is ready, else the newest.
                let Some(best) = all
                    .iter()
                    .max_by_key(|replica| (replica.ready, replica.generation))
                else {
                    continue;
                };
                match kind {
                    Kind::Agent => drop(agents.insert(name.clone(), best.description.clone())),
                    _ => tools.push((name.clone(), best.clone())),
                }
            }
        });
        tools.sort_by(|a, b| a.0.cmp(&b.0));
        tools.truncate(DESCRIBED_TOOLS);
        known.retain(|name, _| tools.binary_search_by(|(tool, _)| tool.cmp(name)).is_ok());
        let mut questions = Vec::new();
        for (name, replica) in tools {
            if let Some(here) = self.directory.instance(&tenant.name, Kind::Tool, &name) {
                // It is listed by itself, and remembered for when it moves elsewhere.
                let tool = Arc::new(ClusterTool {
                    description: here.description.clone(),
                    functions: here.functions(),
                });
                let same = known.get(&name).is_some_and(|known| known.tool == tool);
                if !same {
                    // From the memory of this host already, so that it counts nothing.
                    let instance = "".into();
                    let it = Known {
                        instance,
                        changes: false,
                        bytes: 0,
                        tool,
                    };
                    known.insert(name, it);
                }
                continue;
            }
            let current = known.get(&name).is_some_and(|known| {
                known.instance == replica.instance && !(again && known.changes)
            });
            let peer = replica.callable().and_then(|host| self.hosts.get(host));
            if !current && let Some(address) = peer.and_then(|peer| peer.address) {
                questions.push(Question {
                    tool: name,
                    replica,
                    address,
                });
            }
        }
        let mut answers = stream::iter(questions)
            .map(|question| self.described(&tenant.name, question))
            .buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            let Some((name, answer)) = answer else {
                continue;
            };
            let others = known.iter().filter(|(other, _)| **other != name);
            let bytes: usize = others.map(|(_, known)| known.bytes).sum();
            if bytes + answer.bytes > DESCRIPTIONS_BYTES {
                tracing::warn!(tenant = %tenant.name, tool = %name, "not listed: the tools of the tenant have too much to say");
                continue;
            }
            known.insert(name, answer);
        }
        let tools = known
            .iter()
            .map(|(name, known)| (name.clone(), known.tool.clone()))
            .collect();
        self.directory
            .put_cluster(&tenant.name, Cluster { tools, agents });
    }

    async fn described(&self, tenant: &TenantName, question: Question) -> Option<(Name, Known)> {
        let Question {
            tool,
            replica,
            address,
        } = question;
        let host = replica.callable()?;
        let asked = async {
            let ask = Ask::Describe {
                tenant: tenant.clone(),
                tool: tool.clone(),
            };
            let ask = whole(message(&ask).ok()?);
            let (mut reader, _in_flight) = self.client.ask(host, address, ask).await.ok()?;
            let frame = reader.next().await.ok()??;
            (frame.kind == FrameKind::Answer && frame.content.len() <= DESCRIPTION_BYTES)
                .then_some(frame.content)
        };
        let content = tokio::time::timeout(DESCRIBE, asked).await.ok()??;
        let Ok(Answer::Described(Some(WireTool { functions, changes }))) =
            serde_json::from_slice(&content)
        else {
            return None;
        };
        let functions: Vec<FunctionSummary> = functions.into_iter().map(Into::into).collect();
        let known = Known {
            instance: replica.instance,
            changes,
            bytes: content.len(),
            tool: Arc::new(ClusterTool {
                description: replica.description,
                functions: functions.into(),
            }),
        };
        Some((tool, known))
    }
}

/// Keeps what the directory tells of a tenant up to date, until the tenant is forgotten.
async fn describe(router: Weak<Router>, tenant: Weak<Tenant>) {
    let mut known = HashMap::new();
    let mut again = false;
    loop {
        let mut news = {
            let (Some(router), Some(tenant)) = (router.upgrade(), tenant.upgrade()) else {
                return;
            };
            // Before the look, so that no news is missed.
            let news = tenant.changes();
            router.survey(&tenant, &mut known, again).await;
            tenant.described.send_replace(true);
            news
        };
        again = match tokio::time::timeout(AGAIN, news.changed()).await {
            Ok(Ok(())) => false,
            Ok(Err(_)) => return,
            Err(_) => true,
        };
        tokio::time::sleep(SETTLE).await;
    }
}
