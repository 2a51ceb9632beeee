use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Configuration, String> {
    Configuration::parse(text, &Home::resolve(Some(Path::new("/h"))).unwrap())
}

#[test]
fn nothing_is_the_defaults() {
    let defaults = parse("").unwrap();
    assert_eq!(defaults.kernel.method_workers, 2);
    assert_eq!(defaults.inference.model, Path::new("/h/models/seed"));
    assert_eq!(
        defaults.inference.embedder.as_deref(),
        Some(Path::new("/h/models/all-minilm-l6-v2"))
    );
    assert!(defaults.channel.enabled && !defaults.kernel.install_refused);
    assert_eq!(defaults.supervision.stop_deadline, Duration::from_secs(10));
}

#[test]
fn what_is_said_counts() {
    let said = parse(
        "[kernel]\nmethod_workers = 7\ninstall_refused = true\nlog = \"debug\"\n\
         [inference]\nmodel = \"models/other\"\nthreads = 3\n[channel]\nenabled = false\nallow_under = [\"/opt\"]\n",
    )
    .unwrap();
    assert_eq!(said.kernel.method_workers, 7);
    assert!(said.kernel.install_refused && !said.channel.enabled && !said.inference.is_seed);
    assert_eq!(said.inference.model, Path::new("/h/models/other"));
    assert_eq!(said.inference.threads, Some(3));
    let grouped = parse("[limits.kernel]\ngroup_memory_mib = 512\ngroup_cpu_percent = 150\n").unwrap();
    assert_eq!(
        (
            grouped.limits.kernel.group.memory_bytes,
            grouped.limits.kernel.group.cpu_percent
        ),
        (Some(512 << 20), Some(150))
    );
    let limited = parse("[limits.inference-worker]\nmemory_mib = 64\nnice = 19\n").unwrap();
    assert_eq!(limited.limits.kernel, Limits::default());
    assert_eq!(limited.limits.inference.memory_bytes, Some(64 << 20));
    assert_eq!(limited.limits.inference.nice, Some(19));
    let hash = "ab".repeat(32);
    let blob = parse(&format!(
        "[inference]\nmodel = \"blob:{hash}\"\nadapters_hot_mib = 9\n"
    ))
    .unwrap();
    assert_eq!(blob.inference.model, Path::new("/h/image/blobs/ab").join(&hash));
    assert_eq!(
        (blob.inference.model_hash, blob.inference.adapters_hot_mib),
        (Some(hash), Some(9))
    );
}

#[test]
fn models_are_paths_or_contents_of_the_image() {
    let digest = "ab".repeat(32);
    let said = parse(&format!(
        "[inference]\nmodel = \"/m\"\nembedder = \"blob:{digest}\""
    ))
    .unwrap();
    assert_eq!(said.inference.model, Path::new("/m"));
    let wanted = format!("/h/image/blobs/ab/{digest}");
    assert_eq!(said.inference.embedder, Some(PathBuf::from(wanted)));
    assert_eq!(said.inference.embedder_hash, Some(digest));
    let none = parse("[inference]\nembedder = \"none\"").unwrap();
    assert_eq!(none.inference.embedder, None);
}

#[test]
fn a_server_stands_in_for_the_model() {
    let said = parse(
        "[inference.server]\nurl = \"http://x/v1\"\nkind = \"vllm\"\nkey_file = \"k\"\nretries = 0\nsilence_ms = 9",
    );
    let server = said.unwrap().inference.server.unwrap();
    assert_eq!(
        (server.url.as_str(), server.kind.as_deref()),
        ("http://x/v1", Some("vllm"))
    );
    assert_eq!(server.key_file.as_deref(), Some(Path::new("/h/k")));
    assert_eq!(server.when, "always");
    assert_eq!(
        (server.retries, server.silence_ms, server.connect_ms),
        (Some(0), Some(9), None)
    );
    let secret = parse("[inference.server]\nurl = \"http://me:secret@x/v1\"").unwrap_err();
    assert!(!secret.contains("secret"), "{secret}");
}

#[test]
fn what_is_wrong_is_named() {
    for (text, word) in [
        ("[kernel]\nmethod_wrokers = 2", "method_wrokers"),
        ("[kernal]\n", "kernal"),
        ("[inference]\nmodel = \"blob:12\"", "inference.model"),
        (
            "[inference]\nadapters_warm_mib = 0",
            "inference.adapters_warm_mib",
        ),
        ("[kernel]\nmethod_workers = 0", "kernel.method_workers"),
        ("[kernel]\nmethod_workers = -1", "kernel.method_workers"),
        ("[kernel]\nmethod_workers = \"2\"", "method_workers"),
        (
            "[kernel]\nmethod_memory_mib = 9999999999",
            "kernel.method_memory_mib",
        ),
        ("[inference]\nthreads = 0", "inference.threads"),
        ("[inference.server]\nmodel = \"x\"", "url"),
        (
            "[inference.server]\nurl = \"http://x\"\nwhen = \"often\"",
            "inference.server.when",
        ),
        ("[inference.server]\nurl = \"localhost\"", "inference.server.url"),
        (
            "[inference.server]\nurl = \"http://x\"\nkind = \"gpt\"",
            "inference.server.kind",
        ),
        (
            "[inference.server]\nurl = \"http://x\"\nretries = 99",
            "inference.server.retries",
        ),
        ("[inference.server]\nurl = \"http://x\"\nkey = \"k\"", "key"),
        (
            "[inference.server]\nurl = \"http://x\"\nkey_env = \"K\"\nkey_file = \"k\"",
            "both",
        ),
        ("[inference]\nmodel = \"blob:ABC\"", "inference.model"),
        ("[inference]\nembedder = \"blob:../../x\"", "inference.embedder"),
        ("[limits.kernel]\nnice = 20", "limits.kernel.nice"),
        (
            "[limits.inference-worker]\nmemory_mib = 1",
            "limits.inference-worker.memory_mib",
        ),
        (
            "[limits.kernel]\ngroup_cpu_percent = 0",
            "limits.kernel.group_cpu_percent",
        ),
        ("[limits.console]\nnice = 1", "console"),
        (
            "[supervision]\nrestart_intensity = 0",
            "supervision.restart_intensity",
        ),
        ("[channel]\nallow_under = [\"relative\"]", "channel.allow_under"),
        (
            "[supervision]\nstop_deadline_ms = 1",
            "supervision.stop_deadline_ms",
        ),
        ("[kernel]\nmethod_workers = 2\nmethod_workers = 3", "duplicate"),
        ("[channel]\npublic_keys = [\"abc\"]", "channel.public_keys"),
        ("kernel", "expected"),
    ] {
        let message = parse(text).unwrap_err();
        assert!(message.contains(word), "{text}: {message}");
    }
}
