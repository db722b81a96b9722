//! `ringfence:agent/tools`: functions of tools, each call in the tool's own sandbox.

use futures::future::join_all;
use ringfence_api::{FunctionName, Name};
use serde_json::{Map, Value};

use super::bindings::ringfence::agent::tools::{CallRequest, CallResult, Function, Host};
use super::bindings::ringfence::agent::types::Error;
use crate::error::CallError;
use crate::limits::{FAN_OUT, name};
use crate::mediation::Request;
use crate::sandbox::State;

/// Splits `TOOL_FUNCTION`: tool names are DNS labels, so the first `_` ends them.
pub(crate) fn split_name(name: &str) -> Result<(Name, FunctionName), CallError> {
    let unknown = || {
        CallError::NotFound(format!(
            "no function {name:?}; names look like TOOL_FUNCTION"
        ))
    };
    let (tool, function) = name.split_once('_').ok_or_else(unknown)?;
    Ok((
        tool.parse().map_err(|_| unknown())?,
        function.parse().map_err(|_| unknown())?,
    ))
}

fn request(call: CallRequest) -> Result<Request, CallError> {
    let (tool, function) = split_name(&call.name)?;
    let arguments: Map<String, Value> = if call.arguments.trim().is_empty() {
        Map::new()
    } else {
        serde_json::from_str(&call.arguments).map_err(|error| {
            CallError::Invalid(format!(
                "arguments of {} are not a JSON object: {error}",
                call.name
            ))
        })?
    };
    Ok(Request::Function {
        tool,
        function,
        arguments,
    })
}

impl Host for State {
    async fn list(&mut self) -> wasmtime::Result<Result<Vec<Function>, Error>> {
        self.guest.count_host_call()?;
        let any = !self.guest.instance.grants.tools().is_empty();
        if let Err(error) = self.guest.check_granted("tools", any) {
            return Ok(Err(error.into()));
        }
        self.guest.core.look(&self.guest.context.tenant).await;
        let view = self.guest.core.directory.view(&self.guest.context.tenant);
        let mut functions = Vec::new();
        for grant in self.guest.instance.grants.tools() {
            let Some((_, offered)) = view.any_tool(&grant.name) else {
                continue;
            };
            for function in offered.iter() {
                if grant
                    .functions
                    .as_ref()
                    .is_some_and(|only| !only.contains(&function.name))
                {
                    continue;
                }
                functions.push(Function {
                    name: format!("{}_{}", grant.name, function.name),
                    description: function.description.to_string(),
                    input_schema: Value::Object((*function.input_schema).clone()).to_string(),
                    output_schema: function
                        .output_schema
                        .as_ref()
                        .map(|schema| Value::Object((**schema).clone()).to_string()),
                });
            }
        }
        Ok(Ok(functions))
    }

    async fn call(&mut self, call: CallRequest) -> wasmtime::Result<Result<CallResult, Error>> {
        self.guest.count_host_call()?;
        let result = async {
            let reply = self.guest.effect(request(call)?).await?;
            reply.into_function()
        };
        Ok(result.await.map(Into::into).map_err(Into::into))
    }

    async fn call_all(
        &mut self,
        calls: Vec<CallRequest>,
    ) -> wasmtime::Result<Vec<Result<CallResult, Error>>> {
        self.guest.count_host_call()?;
        if calls.len() > FAN_OUT {
            let error = CallError::limit(name::FAN_OUT, FAN_OUT as u64);
            return Ok(calls.iter().map(|_| Err(error.clone().into())).collect());
        }
        // Each of them counts, and the one that was counted above is the first.
        for _ in calls.iter().skip(1) {
            self.guest.count_host_call()?;
        }
        let started: Vec<_> = calls
            .into_iter()
            .map(|call| request(call).map(|request| self.guest.effect(request)))
            .collect();
        let results = join_all(
            started
                .into_iter()
                .map(|effect| async { effect?.await?.into_function() }),
        );
        Ok(results
            .await
            .into_iter()
            .map(|result: Result<_, CallError>| result.map(Into::into).map_err(Into::into))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_underscore_ends_the_tool() {
        let (tool, function) = split_name("text-search_find_all").unwrap();
        assert_eq!(
            (tool.as_str(), function.as_str()),
            ("text-search", "find_all")
        );
        for bad in ["", "nothing", "_f", "T_f", "t_", "t_ä"] {
            assert!(
                matches!(split_name(bad), Err(CallError::NotFound(_))),
                "{bad}"
            );
        }
    }
}
