//! `ringfence:agent/output`: partial output and progress to the caller.

use super::bindings::ringfence::agent::output::{Host, ProgressReport};
use super::bindings::ringfence::agent::types::{Error, Part};
use crate::error::CallError;
use crate::limits::name;
use crate::message;
use crate::output::{OutputEvent, Progress};
use crate::sandbox::State;

impl State {
    fn emit_event(&mut self, event: OutputEvent, size: usize) -> Result<(), CallError> {
        let guest = &mut self.guest;
        guest.check_granted("output", guest.instance.grants.output())?;
        guest.emitted = guest.emitted.saturating_add(size as u64);
        let most = guest.instance.limits.output_bytes;
        if guest.emitted > most {
            return Err(CallError::limit(name::OUTPUT_BYTES, most));
        }
        if let Some(events) = &guest.context.events {
            events.send(event);
        }
        Ok(())
    }
}

impl Host for State {
    async fn emit(&mut self, part: Part) -> wasmtime::Result<Result<(), Error>> {
        self.guest.count_host_call()?;
        let part = message::Part::from(part);
        let size = part.size();
        Ok(self
            .emit_event(OutputEvent::Part(part), size)
            .map_err(Into::into))
    }

    async fn progress(&mut self, report: ProgressReport) -> wasmtime::Result<Result<(), Error>> {
        self.guest.count_host_call()?;
        let size = report.message.as_ref().map_or(0, String::len);
        let progress = Progress {
            done: report.done,
            total: report.total,
            message: report.message,
        };
        Ok(self
            .emit_event(OutputEvent::Progress(progress), size)
            .map_err(Into::into))
    }
}
