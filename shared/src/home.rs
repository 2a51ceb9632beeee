//! The home folder: where everything of one system lives.

use std::env;
use std::path::{Path, PathBuf};

/// Set in the environment of a kernel whose predecessor was ended by a fault in memory: its index is made anew.
pub const DOUBT_INDEX: &str = "BATOS_DOUBT_INDEX";

/// A home folder and the places inside it.
///
/// ```text
/// image/       the log, its LMDB index, the lock           (kernel alone)
/// audit/       what thoughts did, one JSON document a line  (kernel)
/// models/      checkpoints; models/seed is staged at first start
/// channel/     inbox/, claimed/ and results/ of upgrade instructions
/// planks/      copies of programs; current.json names the kernel's, previous.json the one before
/// logs/        one file a process
/// run/         sockets, process ids; mode 0700
/// steward.toml configuration, optional
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The folder given, else `$BATOS_HOME`, else `$XDG_STATE_HOME/batos`, else `~/.local/state/batos`; made absolute.
    pub fn resolve(given: Option<&Path>) -> std::io::Result<Home> {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let path = given
            .map(Path::to_path_buf)
            .or_else(|| set("BATOS_HOME"))
            .or_else(|| set("XDG_STATE_HOME").map(|base| base.join("batos")))
            .or_else(|| set("HOME").map(|base| base.join(".local/state/batos")))
            .unwrap_or_else(|| PathBuf::from("batos-home"));
        std::path::absolute(path).map(Home)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn image(&self) -> PathBuf {
        self.0.join("image")
    }

    /// Where the content of this name lies: 64 hexadecimal digits in lower case, else none.
    pub fn blob(&self, digest: &str) -> Option<PathBuf> {
        let is_digest = digest.len() == 64
            && digest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_digest.then(|| self.image().join("blobs").join(&digest[..2]).join(digest))
    }

    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }

    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    pub fn inbox(&self) -> PathBuf {
        self.0.join("channel/inbox")
    }

    pub fn results(&self) -> PathBuf {
        self.0.join("channel/results")
    }

    /// Instructions in progress, one folder each.
    pub fn claimed(&self) -> PathBuf {
        self.0.join("channel/claimed")
    }

    /// Copies of programs, and which of them is chosen.
    pub fn planks(&self) -> PathBuf {
        self.0.join("planks")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub fn kernel_socket(&self) -> PathBuf {
        self.run().join("kernel.sock")
    }

    /// Where a kernel waits for a later steward.
    pub fn control_socket(&self, kernel: u32) -> PathBuf {
        self.run().join(format!("kernel-{kernel}.control"))
    }

    pub fn inference_socket(&self) -> PathBuf {
        self.run().join("inference.sock")
    }

    /// Where one inference-worker answers its steward, whether it serves or not.
    pub fn inference_own_socket(&self, worker: u32) -> PathBuf {
        self.run().join(format!("inference-{worker}.sock"))
    }

    pub fn steward_socket(&self) -> PathBuf {
        self.run().join("steward.sock")
    }

    pub fn configuration(&self) -> PathBuf {
        self.0.join("steward.toml")
    }
}
