//! Partial output: what a caller sees before the answer is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::limits::OUTPUT_EVENTS;
use crate::message::Part;

/// How far the work is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Work done so far.
    pub done: f64,
    /// All the work there is, where known.
    pub total: Option<f64>,
    /// One line.
    pub message: Option<String>,
}

/// Something that a guest sends before its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    /// A piece of the answer.
    Part(Part),
    /// How far it is.
    Progress(Progress),
}

/// The guest's end. It never waits: when the reader is [`OUTPUT_EVENTS`] behind, events are dropped
/// and counted, so that a slow reader cannot hold a sandbox.
#[derive(Debug, Clone)]
pub struct EventSink {
    sender: mpsc::Sender<OutputEvent>,
    dropped: Arc<AtomicU64>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<OutputEvent>,
    dropped: Arc<AtomicU64>,
}

/// A connected pair.
pub fn events() -> (EventSink, Events) {
    let (sender, receiver) = mpsc::channel(OUTPUT_EVENTS);
    let dropped = Arc::new(AtomicU64::new(0));
    (
        EventSink {
            sender,
            dropped: dropped.clone(),
        },
        Events { receiver, dropped },
    )
}

impl EventSink {
    /// Hands an event to the reader; false when it was dropped.
    pub fn send(&self, event: OutputEvent) -> bool {
        let sent = self.sender.try_send(event).is_ok();
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Events {
    /// The next event; none when the guest is gone.
    pub async fn next(&mut self) -> Option<OutputEvent> {
        self.receiver.recv().await
    }

    /// Events that were dropped because this reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_events_and_learns_how_many() {
        let (sink, mut events) = events();
        for n in 0..OUTPUT_EVENTS + 3 {
            sink.send(OutputEvent::Part(Part::Text(n.to_string())));
        }
        assert_eq!(events.dropped(), 3);
        assert_eq!(
            events.next().await,
            Some(OutputEvent::Part(Part::Text("0".to_owned())))
        );
    }
}
