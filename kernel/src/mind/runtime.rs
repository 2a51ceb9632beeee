//! Where thoughts run: on threads of their own, which give way to those that serve.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::priority;

/// Lives as long as the process.
static THINKING: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("mind")
        .on_thread_start(|| {
            if let Err(error) = priority::be_nice() {
                tracing::debug!(%error, "a thread of the mind has the same priority as others");
            }
        })
        .build()
});

/// Where a thought is spawned; where no threads can be had, beside everything else.
pub fn handle() -> Handle {
    match &*THINKING {
        Ok(runtime) => runtime.handle().clone(),
        Err(error) => {
            tracing::warn!(%error, "thoughts have no threads of their own");
            Handle::current()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thought_gives_way() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let own = nice();
        assert_eq!(
            handle().spawn(async move { nice() }).await.unwrap(),
            priority::NICE.max(own)
        );
        assert_eq!(nice(), own);
    }
}
