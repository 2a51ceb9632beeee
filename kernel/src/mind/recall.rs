//! What thoughts remember: passages of the memory (`docs/memory.md`).

use shared::bridge::Fault;

use crate::kernel::Kernel;

/// So many passages are looked up for each query.
const FOR_EACH: usize = 3;

/// Passages for the queries, each query's best first, none twice. They are noted as retrieved.
pub async fn recall(kernel: &Kernel, queries: &[String]) -> Result<Vec<String>, Fault> {
    let mut passages: Vec<String> = Vec::new();
    for query in queries {
        let found = kernel.retrieve(None, query, FOR_EACH, Vec::new(), None).await?;
        if let Some(why) = found.text_only {
            tracing::debug!(why, "a thought remembers by words alone");
        }
        for hit in found.hits {
            if !passages.contains(&hit.text) {
                passages.push(hit.text);
            }
        }
    }
    Ok(passages)
}
