//! `ringfence:agent/context`: facts of the current call. Needs no grant.

use super::bindings::ringfence::agent::context::{
    CallContext, Host, Parameter, Principal, PrincipalKind,
};
use crate::mediation;
use crate::sandbox::State;

fn principal(principal: &mediation::Principal) -> Principal {
    Principal {
        kind: match principal.kind() {
            mediation::PrincipalKind::User => PrincipalKind::User,
            mediation::PrincipalKind::Agent => PrincipalKind::Agent,
            mediation::PrincipalKind::Tool => PrincipalKind::Tool,
        },
        name: principal.name().to_owned(),
    }
}

impl Host for State {
    async fn current(&mut self) -> wasmtime::Result<CallContext> {
        let guest = &self.guest;
        let parameters = &guest.instance.parameters;
        Ok(CallContext {
            run: guest.context.run.to_string(),
            session: guest.context.session.as_deref().map(str::to_owned),
            tenant: guest.context.tenant.to_string(),
            self_principal: principal(&guest.principal),
            callers: guest.principal.chain().skip(1).map(principal).collect(),
            parameters: parameters
                .iter()
                .map(|p| Parameter {
                    name: p.name.clone(),
                    value: p.value.clone(),
                })
                .collect(),
            remaining_ms: u64::try_from(guest.context.remaining().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
