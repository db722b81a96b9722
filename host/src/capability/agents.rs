//! `ringfence:agent/agents`: other agents, each call in the agent's own sandbox.

use ringfence_api::Name;

use super::bindings::ringfence::agent::agents::{AgentInfo, Host};
use super::bindings::ringfence::agent::types::{Error, Message, Part};
use super::convert::all;
use crate::error::CallError;
use crate::mediation::Request;
use crate::sandbox::State;

impl Host for State {
    async fn list(&mut self) -> wasmtime::Result<Result<Vec<AgentInfo>, Error>> {
        self.guest.count_host_call()?;
        let any = self.guest.instance.grants.agents().next().is_some();
        if let Err(error) = self.guest.check_granted("agents", any) {
            return Ok(Err(error.into()));
        }
        self.guest.core.look(&self.guest.context.tenant).await;
        let view = self.guest.core.directory.view(&self.guest.context.tenant);
        let agents = view.all_agents();
        let granted = self.guest.instance.grants.agents();
        Ok(Ok(granted
            .filter_map(|name| agents.get_key_value(name))
            .map(|(name, description)| AgentInfo {
                name: name.to_string(),
                description: description.to_string(),
            })
            .collect()))
    }

    async fn send(
        &mut self,
        agent: String,
        messages: Vec<Message>,
    ) -> wasmtime::Result<Result<Vec<Part>, Error>> {
        self.guest.count_host_call()?;
        let result = async {
            let agent: Name = agent
                .parse()
                .map_err(|_| CallError::NotFound(format!("no agent {agent:?}")))?;
            let request = Request::Agent {
                agent,
                messages: all(messages),
            };
            self.guest.effect(request).await?.into_agent()
        };
        Ok(result
            .await
            .map(|reply| all(reply.content))
            .map_err(Into::into))
    }
}
