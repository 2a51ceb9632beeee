//! What thoughts remember: the seam to a memory of documents and thoughts, which this kernel does not have yet.

use shared::bridge::Fault;

/// Passages for each query, best first. An honest fault where there is no memory.
pub async fn recall(_queries: &[String]) -> Result<Vec<String>, Fault> {
    Err(Fault::new(
        "no_memory",
        "this image has no memory yet: nothing was looked up",
    ))
}
