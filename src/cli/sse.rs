//! Server-sent events, as they come out of a byte stream in pieces of any size. It knows the format and nothing of what
//! the events mean.

/// The most bytes that one event may have: a hostile server must not fill the memory.
const MOST: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Its number and its moment: what the server wants to hear when it is asked for those behind it.
    pub id: Option<String>,
    /// Its kind; empty when it has none.
    pub event: String,
    /// What it says.
    pub data: String,
}

impl Frame {
    /// Its number.
    pub fn number(&self) -> Option<u64> {
        self.id.as_deref()?.split('-').next()?.parse().ok()
    }
}

/// Collects bytes until they are events.
#[derive(Debug, Default)]
pub struct Frames {
    /// The bytes of a line that has not ended.
    line: Vec<u8>,
    frame: Frame,
    size: usize,
}

/// An event that is larger than any of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MOST} bytes")]
pub struct TooLarge;

impl Frames {
    /// Takes the next bytes, and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.size += piece.len();
            if self.size > MOST {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                complete.extend(self.end_of_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(complete)
    }

    fn end_of_line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            self.size = 0;
            let mut frame = std::mem::take(&mut self.frame);
            // Each `data:` line left its line end behind.
            frame.data.pop();
            return (!frame.data.is_empty()).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.frame.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                self.frame.data.push_str(value);
                self.frame.data.push('\n');
            }
            // Comments and `retry`.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: &str, event: &str, data: &str) -> Frame {
        Frame { id: Some(id.into()), event: event.into(), data: data.into() }
    }

    const STREAM: &str = "retry: 2000\n\n: alive\n\nid: 1\nevent: accepted\ndata: {\"a\":\r\ndata: 1}\n\nid: 2\nevent: é\ndata: x\n\nid: 3\n";

    #[test]
    fn events_come_out_whole_whatever_the_pieces() {
        let expected = [frame("1", "accepted", "{\"a\":\n1}"), frame("2", "é", "x")];
        for size in 1..STREAM.len() {
            let mut frames = Frames::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let found: Vec<Frame> = pieces.flat_map(|piece| frames.push(piece).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut frames = Frames::default();
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..17).map(|_| frames.push(&piece)).find(Result::is_err);
        assert_eq!(refused, Some(Err(TooLarge)));
    }
}
