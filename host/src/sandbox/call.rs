//! Running functions, commands and agents.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use ringfence_api::{Digest, FunctionName};
use serde_json::{Map, Value};
use wasmtime::Store;
use wasmtime::component::Val;
use wasmtime_wasi::I32Exit;

use super::enter::{Console, Entered, enter};
use super::failure::classify;
use super::meter::Metered;
use super::program::Sandboxes;
use super::state::State;
use super::stdio::Capture;
use crate::core::Core;
use crate::directory::Instance;
use crate::error::CallError;
use crate::function::{self, CommandLine, FunctionResult};
use crate::limits::{HOST_CALL_BYTES, name};
use crate::mediation::CallContext;
use crate::message::{Message, Part};

impl Sandboxes {
    /// Calls a typed function, or the function `run` of a command-line tool.
    pub(crate) async fn function(
        &self,
        core: &Arc<Core>,
        instance: &Arc<Instance>,
        digest: &Digest,
        context: &CallContext,
        function: &FunctionName,
        arguments: Map<String, Value>,
    ) -> Result<FunctionResult, CallError> {
        let program = self.program(digest).await?;
        let Some((function, export)) = program.functions.get(function) else {
            if program.command.is_some() && function.as_str() == function::COMMAND {
                let command = self.command(core, instance, digest, context, arguments);
                return command.boxed().await;
            }
            return Err(CallError::NotFound(format!(
                "tool {} has no function {function}",
                instance.name
            )));
        };
        let parameters = function::arguments_to_vals(function, arguments)?;
        let mut entered = enter(&self.engine, core, instance, context, None)?;
        if function.returns_binary() {
            entered.allow_host_call_bytes(room_for_binary(instance.limits.output_bytes));
        }
        run(entered, context, async |store| {
            let running = program.pre.instantiate_async(&mut *store).await?;
            let callee = running
                .get_func(&mut *store, export)
                .ok_or_else(|| wasmtime::format_err!("an export vanished"))?;
            let mut results = vec![Val::Bool(false); function.result_count()];
            callee
                .call_async(&mut *store, &parameters, &mut results)
                .await?;
            let result = function::vals_to_result(function, &results)?;
            let most = instance.limits.output_bytes;
            if result.size() as u64 > most {
                return Err(CallError::limit(name::OUTPUT_BYTES, most).into());
            }
            Ok(result)
        })
        .await
    }

    async fn command(
        &self,
        core: &Arc<Core>,
        instance: &Arc<Instance>,
        digest: &Digest,
        context: &CallContext,
        arguments: Map<String, Value>,
    ) -> Result<FunctionResult, CallError> {
        let program = self.program(digest).await?;
        let export = program
            .command
            .as_ref()
            .ok_or_else(|| CallError::NotFound("the component has no wasi:cli/run".to_owned()))?;
        let command = CommandLine::parse(arguments)?;
        let stdout = Capture::new(name::OUTPUT_BYTES, instance.limits.output_bytes);
        let mut argv = vec![instance.name.to_string()];
        argv.extend(command.arguments);
        let console = Console {
            arguments: argv,
            stdin: command.stdin,
            stdout: stdout.clone(),
        };
        let entered = enter(&self.engine, core, instance, context, Some(console))?;
        let log = entered.log.clone();
        let (code, errors) = run(entered, context, async |store| {
            let running = program.pre.instantiate_async(&mut *store).await?;
            let main = running.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, export)?;
            let code = match main.call_async(&mut *store, ()).await {
                Ok((Ok(()),)) => 0,
                Ok((Err(()),)) => 1,
                Err(error) => match error.downcast_ref::<I32Exit>() {
                    Some(exit) => exit.0,
                    None => return Err(error),
                },
            };
            Ok((code, log.tail()))
        })
        .await?;
        Ok(function::command_result(code, &stdout.take(), &errors))
    }

    /// Runs an agent on a conversation.
    pub(crate) async fn agent(
        &self,
        core: &Arc<Core>,
        instance: &Arc<Instance>,
        digest: &Digest,
        context: &CallContext,
        messages: Vec<Message>,
    ) -> Result<Vec<Part>, CallError> {
        let program = self.program(digest).await?;
        let agent = program.agent.as_ref().ok_or_else(|| {
            CallError::Failed("the component does not export ringfence:agent/handler".to_owned())
        })?;
        let messages: Vec<_> = messages.into_iter().map(Into::into).collect();
        let entered = enter(&self.engine, core, instance, context, None)?;
        run(entered, context, async |store| {
            let running = agent.instantiate_async(&mut *store).await?;
            let handler = running.ringfence_agent_handler();
            let answer = handler.call_handle(&mut *store, &messages).await?;
            let parts: Vec<Part> = match answer {
                Ok(parts) => parts.into_iter().map(Into::into).collect(),
                Err(error) => return Err(CallError::from(error).into()),
            };
            let most = instance.limits.output_bytes;
            if parts.iter().map(Part::size).sum::<usize>() as u64 > most {
                return Err(CallError::limit(name::OUTPUT_BYTES, most).into());
            }
            Ok(parts)
        })
        .await
    }
}

/// Bytes that one call between guest and host may pass where a function returns binary data of at most
/// `output_bytes`: wasmtime gives such a function's result value by value, and counts a value's size for
/// each byte. As much as arguments may take, and no more.
fn room_for_binary(output_bytes: u64) -> usize {
    let values = usize::try_from(output_bytes)
        .unwrap_or(usize::MAX)
        .saturating_mul(size_of::<Val>());
    HOST_CALL_BYTES
        .saturating_add(values)
        .min(function::MAX_VALUE_BYTES)
}

/// Runs `body` in the store until it ends, its processor time or the deadline is used up, the caller
/// gives up, or it panics. The store is gone afterwards, whatever happened.
pub(super) async fn run<T>(
    entered: Entered,
    context: &CallContext,
    body: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, CallError> {
    let Entered { mut store, log } = entered;
    let cpu = store.data().cpu.clone();
    let outcome = {
        let work = Metered::new(cpu, Box::pin(body(&mut store)));
        let guarded = AssertUnwindSafe(work).catch_unwind();
        tokio::select! {
            biased;
            outcome = guarded => Some(outcome),
            () = context.cancel.cancelled() => None,
            () = tokio::time::sleep_until(context.deadline.into()) => None,
        }
    };
    let state = store.data();
    state
        .guest
        .core
        .finish_sandbox(&state.guest, &log, state.cpu.used(), state.limiter.memory());
    match outcome {
        // A guest that answers because what it waited for was canceled has not answered.
        Some(Ok(_)) if context.cancel.is_cancelled() => Err(CallError::Canceled),
        Some(Ok(Ok(value))) => Ok(value),
        Some(Ok(Err(error))) => Err(classify(error, state)),
        Some(Err(_)) => Err(CallError::Failed(
            "the host failed inside this call".to_owned(),
        )),
        None if context.cancel.is_cancelled() => Err(CallError::Canceled),
        None => Err(context.out_of_time(&state.guest.instance)),
    }
}
