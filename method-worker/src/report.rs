//! An exception as the kernel, the model and people get it.

use pyo3::prelude::*;
use pyo3::types::{PyCode, PyString};
use shared::activation::Raised;

use crate::code;

pub const MAX_MESSAGE_BYTES: usize = 2048;
const MAX_TRACEBACK_BYTES: usize = 4096;
const MAX_LINE_BYTES: usize = 160;
/// Frames kept at each end of a long traceback.
const KEPT_FRAMES: usize = 12;

/// Tells kind, message and frames, outermost first. Formatting may run code of the exception itself (`__str__`).
pub fn raised(py: Python<'_>, error: &PyErr) -> Raised {
    let kind = error
        .get_type(py)
        .name()
        .map_or_else(|_| "Exception".to_owned(), |name| name.to_string());
    let message = match error.value(py).str() {
        Ok(text) => shorten(&text.to_string_lossy(), MAX_MESSAGE_BYTES),
        Err(_) => "(its message cannot be shown)".to_owned(),
    };
    let frames = frames(py, error).unwrap_or_default();
    Raised {
        kind,
        message,
        traceback: shorten(&join(&frames), MAX_TRACEBACK_BYTES),
    }
}

fn frames(py: Python<'_>, error: &PyErr) -> PyResult<Vec<String>> {
    let mut frames = Vec::new();
    let mut next = error.traceback(py).map(Bound::into_any);
    while let Some(entry) = next {
        let line: usize = entry.getattr("tb_lineno")?.extract()?;
        let code = entry
            .getattr("tb_frame")?
            .getattr("f_code")?
            .cast_into::<PyCode>()?;
        let filename = code
            .getattr("co_filename")?
            .cast_into::<PyString>()?
            .to_string_lossy()
            .into_owned();
        if let Some((selector, text)) = code::line(&filename, line) {
            frames.push(format!(
                "{selector}, line {line}: {}",
                shorten(&text, MAX_LINE_BYTES)
            ));
        }
        next = Some(entry.getattr("tb_next")?).filter(|next| !next.is_none());
    }
    Ok(frames)
}

fn join(frames: &[String]) -> String {
    if frames.len() <= 2 * KEPT_FRAMES {
        return frames.join("\n");
    }
    let (first, last) = (&frames[..KEPT_FRAMES], &frames[frames.len() - KEPT_FRAMES..]);
    format!(
        "{}\n… {} frames …\n{}",
        first.join("\n"),
        frames.len() - 2 * KEPT_FRAMES,
        last.join("\n")
    )
}

/// At most `bytes` bytes, cut at a character.
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub(3))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}
