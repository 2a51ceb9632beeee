//! Server-sent events out of a stream of bytes, as the WHATWG's standard has them; only their data counts.

/// Bytes of one event, and of one line.
const MAX_EVENT_BYTES: usize = 1 << 20;

#[derive(Default)]
pub struct Events {
    /// The line that has not ended.
    line: Vec<u8>,
    data: Option<String>,
    after_return: bool,
}

impl Events {
    /// Reads on; the data of each event that is complete. Fails at what is no such stream.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for byte in bytes {
            // A line ends by a line feed, a carriage return, or both.
            match byte {
                b'\n' if std::mem::take(&mut self.after_return) => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line(&mut found)?;
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() == MAX_EVENT_BYTES {
                        return Err(format!("a line is longer than {MAX_EVENT_BYTES} bytes"));
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(found)
    }

    fn end_line(&mut self, found: &mut Vec<String>) -> Result<(), String> {
        if self.line.is_empty() {
            found.extend(self.data.take());
            return Ok(());
        }
        let line = std::str::from_utf8(&self.line).map_err(|_| "a line is not UTF-8".to_owned())?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "data" => {
                let value = value.strip_prefix(' ').unwrap_or(value);
                let data = self.data.get_or_insert_default();
                if data.len() + value.len() >= MAX_EVENT_BYTES {
                    return Err(format!("an event is longer than {MAX_EVENT_BYTES} bytes"));
                }
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // A comment, and fields that are for browsers.
            "" | "event" | "id" | "retry" => {}
            _ => {
                let shown: String = line.chars().take(80).collect();
                return Err(format!("a line is no event: {shown:?}"));
            }
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a text, whole and byte by byte.
    fn check(text: &str, wanted: &[&str]) {
        assert_eq!(Events::default().read(text.as_bytes()).unwrap(), wanted);
        let mut events = Events::default();
        let found: Vec<String> = text
            .as_bytes()
            .iter()
            .flat_map(|byte| events.read(&[*byte]).unwrap())
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn events_are_found_however_they_are_cut_and_whatever_ends_their_lines() {
        check("data: a\n\ndata:b\r\n\r\ndata: c\r\r", &["a", "b", "c"]);
        check(": ping\n\nevent: x\nid: 1\ndata: é\ndata: 2\n\n", &["é\n2"]);
        check("data: not ended\n", &[]);
        check("data\n\n", &[""]);
    }

    #[test]
    fn what_is_no_event_or_without_end_is_an_error() {
        for text in ["<html>\n", "{\"error\": 1}\n", "data: \u{0}\u{0}\nnonsense\n"] {
            assert!(Events::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Events::default().read(b"data: \xff\n").is_err());
        let long = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert!(Events::default().read(&long).is_err());
        let line = format!("data: {}\n", "x".repeat(MAX_EVENT_BYTES / 2));
        assert!(Events::default().read(line.repeat(2).as_bytes()).is_err());
    }
}
