//! Lines of a file in whatever encoding it is, with their bytes in it; memory is that of one line, and a line is bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// A line is handed on in pieces of so many bytes.
const PIECE: usize = 16 << 10;
/// An encoding is guessed by so many bytes.
const GUESSED: usize = 64 << 10;
/// A file of UTF-16 is read as a whole, up to so many bytes.
const WIDE_BYTES: u64 = 256 << 20;

/// A line with its end, or a piece of a long one.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Its bytes in the file.
    pub begin: u64,
    pub end: u64,
    pub text: String,
    /// The text is those very bytes.
    pub is_verbatim: bool,
}

impl Line {
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// The lines of a file.
pub struct Lines {
    reader: Box<dyn BufRead>,
    encoding: &'static Encoding,
    at: u64,
    /// Bytes that were read and are not handed on.
    rest: Vec<u8>,
    is_over: bool,
    wide: Option<std::vec::IntoIter<Line>>,
}

/// What the first bytes of a file say about it.
pub enum Looked {
    Text(&'static Encoding),
    /// Not for reading, and why.
    Binary(String),
}

/// Looks at the first bytes.
pub fn look(file: &mut File) -> io::Result<Looked> {
    let mut head = Vec::with_capacity(GUESSED);
    file.rewind()?;
    file.take(GUESSED as u64).read_to_end(&mut head)?;
    file.rewind()?;
    if let Some((encoding, _)) = Encoding::for_bom(&head) {
        return Ok(Looked::Text(encoding));
    }
    if let Some(at) = head.iter().position(|byte| *byte == 0) {
        return Ok(Looked::Binary(format!("it is binary: byte {at} is zero")));
    }
    let strange = head
        .iter()
        .filter(|byte| **byte < 0x20 && !b"\t\n\r\x0c\x1b".contains(byte))
        .count();
    if strange * 20 > head.len() {
        return Ok(Looked::Binary(format!(
            "it is binary: {strange} of its first {} bytes are control characters",
            head.len()
        )));
    }
    let is_utf8 = match std::str::from_utf8(&head) {
        Ok(_) => true,
        // A character may go on behind the end of what was looked at.
        Err(error) => error.error_len().is_none() && head.len() == GUESSED,
    };
    if is_utf8 {
        return Ok(Looked::Text(UTF_8));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&head, head.len() < GUESSED);
    Ok(Looked::Text(detector.guess(None, Utf8Detection::Allow)))
}

impl Lines {
    /// The lines of a file in an encoding that [`look`] has found.
    pub fn of(mut file: File, encoding: &'static Encoding) -> Result<Lines, String> {
        let failed = |error: io::Error| format!("it cannot be read: {error}");
        if encoding == UTF_16LE || encoding == UTF_16BE {
            let length = file.metadata().map_err(failed)?.len();
            if length > WIDE_BYTES {
                return Err(format!(
                    "a file of UTF-16 may have {} MiB; turn it into UTF-8 first (iconv -f UTF-16 -t UTF-8)",
                    WIDE_BYTES >> 20
                ));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed)?;
            let mut lines = Lines::reading(Box::new(io::empty()), encoding);
            lines.wide = Some(wide_lines(&bytes, encoding).into_iter());
            return Ok(lines);
        }
        let mut lines = Lines::reading(Box::new(BufReader::with_capacity(256 << 10, file)), encoding);
        lines.skip_mark().map_err(failed)?;
        Ok(lines)
    }

    /// Lines of UTF-8 that somebody else writes.
    pub fn reading(reader: Box<dyn BufRead>, encoding: &'static Encoding) -> Lines {
        Lines {
            reader,
            encoding,
            at: 0,
            rest: Vec::new(),
            is_over: false,
            wide: None,
        }
    }

    fn skip_mark(&mut self) -> io::Result<()> {
        if self.reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
            self.at = 3;
        }
        Ok(())
    }

    /// The next one; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Line>, String> {
        if let Some(wide) = &mut self.wide {
            return Ok(wide.next());
        }
        while !self.is_over && self.rest.len() < PIECE && !self.rest.ends_with(b"\n") {
            let mut limited = (&mut self.reader).take((PIECE - self.rest.len()) as u64);
            let read = limited.read_until(b'\n', &mut self.rest);
            let read = read.map_err(|error| format!("it cannot be read: {error}"))?;
            self.is_over = read == 0;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = match self.rest.ends_with(b"\n") || self.is_over {
            true => self.rest.len(),
            false => cut(&self.rest),
        };
        let after = self.rest.split_off(length);
        let bytes = std::mem::replace(&mut self.rest, after);
        let begin = self.at;
        self.at += length as u64;
        let (text, is_verbatim) = match String::from_utf8(bytes) {
            Ok(text) if self.encoding == UTF_8 => (text, true),
            Ok(text) if text.is_ascii() => (text, true),
            Ok(text) => (
                self.encoding
                    .decode_without_bom_handling(text.as_bytes())
                    .0
                    .into_owned(),
                false,
            ),
            Err(error) => {
                let bytes = error.into_bytes();
                (
                    self.encoding.decode_without_bom_handling(&bytes).0.into_owned(),
                    false,
                )
            }
        };
        Ok(Some(Line {
            begin,
            end: self.at,
            text,
            is_verbatim,
        }))
    }
}

/// Where a long line is cut: behind a space where there is one near the end, and never inside a character of UTF-8.
fn cut(bytes: &[u8]) -> usize {
    let near = bytes.len() - bytes.len() / 8;
    if let Some(space) = bytes[near..].iter().rposition(|byte| *byte == b' ') {
        return near + space + 1;
    }
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn wide_lines(bytes: &[u8], encoding: &'static Encoding) -> Vec<Line> {
    let (text, _) = encoding.decode_with_bom_removal(bytes);
    let mut at = 2;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let end = at + 2 * line.encode_utf16().count() as u64;
        lines.push(Line {
            begin: at,
            end,
            text: line.to_owned(),
            is_verbatim: false,
        });
        at = end;
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Line>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let encoding = match look(&mut file).unwrap() {
            Looked::Text(encoding) => encoding,
            Looked::Binary(why) => return Err(why),
        };
        let mut lines = Lines::of(file, encoding)?;
        let mut found = Vec::new();
        while let Some(line) = lines.next()? {
            found.push(line);
        }
        Ok(found)
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        read(bytes).unwrap().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_keep_their_bytes() {
        let text = "eins\nzwei äöü\n\ndrei";
        let lines = read(text.as_bytes()).unwrap();
        for line in &lines {
            assert_eq!(&text[line.begin as usize..line.end as usize], line.text);
            assert!(line.is_verbatim);
        }
        assert_eq!(lines.len(), 4);
        assert_eq!(texts(b""), Vec::<String>::new());
        assert_eq!(read(b"\xef\xbb\xbfa\n").unwrap()[0].begin, 3);
    }

    #[test]
    fn other_encodings_are_read_and_binary_is_not() {
        let latin = "Die Größe der Bäume über dem Fluß wird täglich gemessen und notiert.\n".repeat(5);
        let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(&latin);
        let lines = read(&bytes).unwrap();
        assert!(
            lines
                .iter()
                .all(|line| line.text.contains("Größe") && !line.is_verbatim)
        );
        let wide: Vec<u8> = [0xfffeu16.swap_bytes()]
            .into_iter()
            .chain("ab\nß".encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        let lines = read(&wide).unwrap();
        assert_eq!((lines[0].text.as_str(), lines[1].text.as_str()), ("ab\n", "ß"));
        assert_eq!((lines[1].begin, lines[1].end), (8, 10));
        assert!(read(b"\x7fELF\0\0").unwrap_err().contains("byte 4"));
        assert!(read(&[1; 50]).unwrap_err().contains("control"));
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces() {
        for text in [
            "word ".repeat(30_000),
            "ü".repeat(60_000),
            "x".repeat(100_000),
            "機".repeat(40_001),
        ] {
            let lines = read(text.as_bytes()).unwrap();
            assert!(lines.len() > 4);
            let all: String = lines.iter().map(|line| line.text.as_str()).collect();
            assert!(all == text, "{} of {} bytes", all.len(), text.len());
            assert!(
                lines
                    .iter()
                    .all(|line| line.text.len() <= PIECE && line.is_verbatim),
                "{}",
                &text[..8]
            );
        }
    }
}
