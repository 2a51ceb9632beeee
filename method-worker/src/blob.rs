//! A blob as a method sees it: its name and its length. Its content stays outside.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use shared::json::to_hex;
use shared::value::BlobRef;

/// A content of the image. Equal when the contents are.
#[pyclass(frozen, immutable_type, eq, name = "blob", module = "image")]
#[derive(PartialEq, Eq)]
pub struct Blob {
    pub reference: BlobRef,
}

#[pymethods]
impl Blob {
    /// Length of the content in bytes.
    #[getter]
    fn bytes(&self) -> u64 {
        self.reference.bytes
    }

    /// BLAKE3 hash of the content, 64 hex digits.
    #[getter]
    fn digest(&self) -> String {
        to_hex(&self.reference.digest)
    }

    /// The content; not yet.
    #[pyo3(signature = (offset = 0, length = None))]
    fn read(&self, offset: u64, length: Option<u64>) -> PyResult<Vec<u8>> {
        let _ = (offset, length);
        Err(PyNotImplementedError::new_err(format!(
            "the content of {} cannot be read inside a method yet; only .bytes and .digest",
            self.__repr__()
        )))
    }

    fn __repr__(&self) -> String {
        let digest = to_hex(&self.reference.digest[..6]);
        format!("<blob {digest}…, {} bytes>", self.reference.bytes)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.reference.hash(&mut hasher);
        hasher.finish()
    }
}
