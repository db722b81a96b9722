//! Server-sent events: a decoder that bounds what one event may hold.

use bytes::{Buf, BytesMut};

/// One event is longer than it may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {0} bytes")]
pub(crate) struct EventTooLong(pub(crate) usize);

/// One event. Only what this host's protocols use.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
}

/// Takes bytes as they come and gives events as they are complete.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no line end.
    scanned: usize,
    current: Event,
    size: usize,
    maximum: usize,
    started: bool,
    /// A line ended with CR: an LF right after it belongs to it.
    after_cr: bool,
}

impl Decoder {
    pub(crate) fn new(maximum: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            current: Event::default(),
            size: 0,
            maximum,
            started: false,
            after_cr: false,
        }
    }

    /// Adds bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, if there is one already.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, EventTooLong> {
        loop {
            if self.after_cr && !self.buffer.is_empty() {
                if self.buffer.first() == Some(&b'\n') {
                    self.buffer.advance(1);
                }
                self.after_cr = false;
            }
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.scanned = self.buffer.len();
                if self.size + self.scanned > self.maximum {
                    return Err(EventTooLong(self.maximum));
                }
                return Ok(None);
            };
            let end = self.scanned + at;
            let line = self.buffer.split_to(end);
            self.after_cr = self.buffer.first() == Some(&b'\r');
            self.buffer.advance(1);
            self.scanned = 0;
            let mut line: &[u8] = &line;
            if !self.started {
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
                self.started = true;
            }
            if line.is_empty() {
                self.size = 0;
                let event = std::mem::take(&mut self.current);
                if event != Event::default() {
                    return Ok(Some(event));
                }
                continue;
            }
            self.size += line.len() + 1;
            if self.size > self.maximum {
                return Err(EventTooLong(self.maximum));
            }
            self.field(line);
        }
    }

    fn field(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.current.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "event" => self.current.name = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.current.id = Some(value.to_owned()),
            "retry" => self.current.retry = value.parse().ok(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]], maximum: usize) -> Result<Vec<Event>, EventTooLong> {
        let mut decoder = Decoder::new(maximum);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(event) = decoder.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn events_of_every_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                "\u{feff}: note{end}event: a{end}data: 1{end}data:2{end}id: 7{end}{end}{end}data{end}{end}x"
            );
            let events = all(&[text.as_bytes()], 100).unwrap();
            assert_eq!(events.len(), 2, "{end:?}");
            assert_eq!(events[0].data.as_deref(), Some("1\n2"));
            assert_eq!(events[0].name.as_deref(), Some("a"));
            assert_eq!(events[0].id.as_deref(), Some("7"));
            assert_eq!(events[1].data.as_deref(), Some(""));
        }
    }

    #[test]
    fn an_event_is_bounded_whether_its_line_ends_or_not() {
        assert!(all(&[&[b'x'; 101]], 100).is_err());
        let lines = "data: 0123456789\n".repeat(10);
        assert!(all(&[lines.as_bytes()], 100).is_err());
        let events = "data: 0123456789\n\n".repeat(100);
        assert_eq!(all(&[events.as_bytes()], 100).unwrap().len(), 100);
    }

    proptest! {
        /// Where the pieces are cut changes nothing.
        #[test]
        fn cuts_do_not_matter(text in "(data: [a-z]{0,5}|\n|\r\n|\r|:x|event: e){0,30}", at in 0usize..100) {
            let bytes = text.as_bytes();
            let (left, right) = bytes.split_at(at.min(bytes.len()));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = all(&[bytes], 1000);
            prop_assert_eq!(&whole, &all(&[left, right], 1000));
            prop_assert_eq!(&whole, &all(&single, 1000));
        }
    }
}
