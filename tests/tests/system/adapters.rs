//! Adapters: from a PEFT folder through a blob of the image into the inference-worker, and back out.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use shared::frame;
use shared::inference::{Adapter, Contents, Generate, InferenceEvent, InferenceRequest};

use crate::harness::{System, number, repository, text, until};

fn fixture(name: &str) -> String {
    let path: PathBuf = repository()
        .join("inference-worker/tests/fixtures/adapters")
        .join(name);
    path.to_str().unwrap().to_owned()
}

fn import(system: &System, name: &str, arguments: &[&str]) -> Json {
    let from = fixture("seed-strong");
    let mut all = vec!["adapter", "import", &from, "--name", name];
    all.extend(arguments);
    system.ok(&all)
}

fn listed(system: &System) -> Vec<Json> {
    system.ok(&["adapter", "list"])["adapters"]
        .as_array()
        .unwrap()
        .clone()
}

fn blob_path(system: &System, blob: &Json) -> PathBuf {
    let digest = text(&blob["$blob"]);
    system.home().join("image/blobs").join(&digest[..2]).join(digest)
}

#[test]
fn an_adapter_is_imported_held_and_dropped_and_outlives_every_process() {
    let system = System::new().up();
    assert!(listed(&system).is_empty());
    let imported = import(&system, "ROBIN", &[])["adapter"].clone();
    assert_eq!(
        (&imported["name"], &imported["generation"]),
        (&json!("ROBIN"), &json!(1))
    );
    assert_eq!(
        (&imported["rank"], &imported["base"]),
        (&json!(8), &json!("seed"))
    );
    assert_eq!(
        imported["products"],
        json!(["self_attn.q_proj", "self_attn.v_proj"])
    );
    // An object of the image, its weights a blob that is the file.
    let object = system.inspect("memory_manager.adapters.ROBIN");
    assert_eq!(object["slots"]["weights"]["value"], imported["weights"]);
    assert_eq!(object["slots"]["alpha"]["value"], 96.0);
    let kept = fs::read(blob_path(&system, &imported["weights"])).unwrap();
    assert!(kept == fs::read(fixture("seed-strong/adapter_model.safetensors")).unwrap());
    // Whoever imports it finds it loaded.
    let tier = || text(&listed(&system)[0]["tier"]).to_owned();
    until("it is warm", || (tier() == "warm").then_some(()));
    system.ok(&["adapter", "pin", "ROBIN"]);
    assert_eq!(
        (tier(), &listed(&system)[0]["pinned"]),
        ("hot".into(), &json!(true))
    );
    system.ok(&["adapter", "unpin", "ROBIN"]);
    assert_eq!(listed(&system)[0]["pinned"], false);

    system.ok(&["down"]);
    system.start();
    until("the list comes back", || {
        (listed(&system).len() == 1).then_some(())
    });
    assert_eq!(tier(), "cold");
    system.ok(&["adapter", "stage", "ROBIN"]);
    assert_eq!(tier(), "warm");
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));

    system.ok(&["adapter", "drop", "ROBIN"]);
    assert!(listed(&system).is_empty());
    system.refused(&["adapter", "show", "ROBIN"], "no_adapter");
    system.refused(&["adapter", "stage", "ROBIN"], "no_adapter");
    // A number is not given a second time.
    assert_eq!(import(&system, "ROBIN", &[])["adapter"]["generation"], 2);
}

/// The seed with its personas' adapters, where their workflow is adopted: all four take part in what is installed.
#[test]
fn the_seed_thinks_by_its_personas() {
    let system = System::new().up();
    for persona in ["brick", "babs", "robin", "alfred"] {
        let from = repository().join("inference-worker/seed/adapters").join(persona);
        let imported = system.ok(&["adapter", "import", from.to_str().unwrap()]);
        assert_eq!(imported["adapter"]["name"], persona.to_uppercase());
    }
    system.ok(&["workflow", "adopt", "adapted"]);
    system.ok(&["new", "traits", "tally=3", "--name", "gate"]);
    system.ok(&[
        "wish",
        "gate",
        "count_up",
        "Add one to the tally.",
        "--example",
        "tally=3 () -> _; tally=4",
    ]);
    let sent = system.ok(&["send", "gate", "count_up"]);
    assert_eq!(system.inspect("gate")["slots"]["tally"]["value"], 4);
    let events = answers(&system);
    let of = |persona: &str| -> Vec<&Json> {
        let said = events.iter().filter(|event| event["active_persona"] == persona);
        said.collect()
    };
    // Each reads the prompt of the method with the end that it was trained on (inference-worker/seed/persona.py).
    let (plan, touched, verdict) = (of("BRICK")[0], of("BABS")[0], of("ALFRED")[0]);
    let prompt = text(&plan["llm_prompt"]).strip_suffix("<|covenant|>").unwrap();
    assert!(
        prompt.ends_with("\n<|wish|>Add one to the tally.\n<|example|>tally=3 () -> _; tally=4\n"),
        "{prompt}"
    );
    let planned: Json = serde_json::from_str(text(&plan["llm_response_raw"])).unwrap();
    assert_eq!(planned["archetype"], "technical deconstruction");
    assert_eq!(text(&touched["llm_prompt"]), format!("{prompt}<|slots|>"));
    let said = text(&touched["llm_response_raw"]);
    assert!(said.contains("changes tally;"), "{said}");
    let woven = format!("{prompt}<|attempt|>{said}\n<|method|>");
    let methods = of("ROBIN");
    let count = |asked: &str| {
        methods
            .iter()
            .filter(|event| event["llm_prompt"] == asked)
            .count()
    };
    assert_eq!((methods.len(), count(&woven)), (16, 5), "{sent}");
    assert_eq!(count(&format!("{prompt}<|method|>")), 6);
    let gate = system.inspect("gate");
    let source = text(&gate["slots"]["count_up"]["value"]["$method"]);
    assert_eq!(
        text(&verdict["llm_prompt"]),
        format!("{prompt}<|attempt|>{}\n<|flaw|>", source.trim_end())
    );
    let judged: Json = serde_json::from_str(text(&verdict["llm_response_raw"])).unwrap();
    assert_eq!(judged["verdict"], "pass");
    // They were not trained on a message without a wish, nor can one of them be missing.
    let short = |from: usize| {
        let asked = answers(&system).split_off(from);
        assert!(!asked.is_empty());
        assert!(
            asked.iter().all(|event| event["active_persona"] == "ROBIN"),
            "{asked:?}"
        );
        from + asked.len()
    };
    system.ok(&["send", "genesis", "display_yourself"]);
    let asked = short(events.len());
    system.ok(&["adapter", "drop", "BABS"]);
    system.ok(&[
        "wish",
        "gate",
        "count_off",
        "Take one from the tally.",
        "--example",
        "tally=3 () -> _; tally=2",
    ]);
    system.ok(&["send", "gate", "count_off"]);
    short(asked);
}

/// What models have answered, in the order of the stream of consciousness.
fn answers(system: &System) -> Vec<Json> {
    let read = || {
        let stream = fs::read_to_string(system.home().join("audit/thoughts.jsonl")).unwrap_or_default();
        let events: Vec<Json> = stream
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let is_over = events
            .last()
            .is_some_and(|event| event["event_type"] == "MISSION_ENDED");
        is_over.then_some(events)
    };
    let mut events = until("the stream is written", read);
    events.retain(|event| event["event_type"] == "ARTIFACT_GENERATED");
    events
}

#[test]
fn a_generation_is_replaced_only_by_who_knows_which() {
    let system = System::new().up();
    import(&system, "ROBIN", &[]);
    let from = fixture("seed-strong");
    let again = |more: &[&str]| {
        let mut all = vec!["adapter", "import", from.as_str(), "--name", "ROBIN"];
        all.extend(more);
        all.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>()
    };
    let refused = |more: &[&str], reason: &str| {
        let words = again(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        system.refused(&words, reason)
    };
    let told = refused(&[], "bad_argument");
    assert!(text(&told["message"]).contains("--replace 1"), "{told}");
    refused(&["--replace", "7"], "conflict");
    let second = import(&system, "ROBIN", &["--replace", "1"])["adapter"].clone();
    assert_eq!(second["generation"], 2);
    refused(&["--replace", "1"], "conflict");
    let shown = system.ok(&["adapter", "show", "ROBIN"]);
    let generations: Vec<u64> = shown["adapters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| number(&one["generation"]))
        .collect();
    assert_eq!(generations, [2, 1]);
    // Of two at once, one is first.
    let words = ["adapter", "import", from.as_str(), "--name", "TWO"];
    let both = std::thread::scope(|scope| {
        let asking = [(); 2].map(|()| scope.spawn(|| system.batos(&words)));
        asking.map(|asking| asking.join().unwrap())
    });
    let mut codes = both.each_ref().map(|reply| reply.code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{both:?}");
    let generations = system.ok(&["adapter", "show", "TWO"])["adapters"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(generations, 1);
    // The same by JSON-RPC: the content is here already.
    let call = |more: Json| {
        let mut parameters = json!({"name": "BRICK", "weights": second["weights"]});
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        system.rpc("adapter_import", parameters)
    };
    let config = fs::read_to_string(fixture("seed-strong/adapter_config.json")).unwrap();
    assert_eq!(call(json!({}))["error"]["data"]["reason"], "adapter_refused");
    let brick = call(json!({ "config": config }))["result"]["adapter"].clone();
    assert_eq!(
        (&brick["name"], &brick["generation"]),
        (&json!("BRICK"), &json!(1))
    );
    assert_eq!(
        system.rpc("adapter_list", json!({"name": "BRICK"}))["result"]["adapters"][0]["object"],
        brick["object"]
    );
    let absent = json!({"$blob": "ab".repeat(32), "bytes": 5});
    let refused = system.rpc(
        "adapter_import",
        json!({"name": "X", "weights": absent, "config": config}),
    );
    assert_eq!(refused["error"]["data"]["reason"], "no_blob");
    // A repeat of one request is answered, not carried out again.
    let id = format!("{}:1", "ab".repeat(16));
    let third = import(&system, "ROBIN", &["--replace", "2", "--request-id", &id]);
    assert_eq!(
        import(&system, "ROBIN", &["--replace", "2", "--request-id", &id])["adapter"],
        third["adapter"]
    );
}

#[test]
fn what_cannot_be_followed_or_does_not_fit_leaves_nothing() {
    let system = System::new().up();
    let before = system.status()["kernel"]["objects"].clone();
    let refused = |from: &str, named: &str| {
        let refused = system.refused(&["adapter", "import", from, "--name", "X"], "adapter_refused");
        assert!(text(&refused["message"]).contains(named), "{refused}");
    };
    refused(&fixture("refused/dora"), "DoRA");
    refused(&fixture("refused/saved"), "modules_to_save");
    refused(&fixture("refused/pissa"), "pissa");
    // Made for another base.
    refused(&fixture("llama3-all"), "another base");
    refused(&fixture("llama3-default.safetensors"), "another base");
    let folder = system.folder().join("broken");
    fs::create_dir(&folder).unwrap();
    fs::copy(
        fixture("seed-strong/adapter_config.json"),
        folder.join("adapter_config.json"),
    )
    .unwrap();
    let weights = fs::read(fixture("seed-strong/adapter_model.safetensors")).unwrap();
    let mut giant = weights.clone();
    giant[..8].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    let mut infinite = weights.clone();
    let length = infinite.len();
    infinite[length - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    for (content, named) in [
        (giant, "header claims"),
        (infinite, "not finite"),
        (weights[..length - 100].to_vec(), "truncated"),
        (vec![], "too short"),
    ] {
        fs::write(folder.join("adapter_model.safetensors"), content).unwrap();
        refused(folder.to_str().unwrap(), named);
    }
    fs::remove_file(folder.join("adapter_model.safetensors")).unwrap();
    fs::write(folder.join("adapter_model.bin"), "x").unwrap();
    let usage = system.batos(&["adapter", "import", folder.to_str().unwrap(), "--name", "X"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    let from = fixture("seed-strong");
    system.refused(&["adapter", "import", &from, "--name", "no name"], "bad_argument");
    assert!(listed(&system).is_empty());
    assert_eq!(system.status()["kernel"]["objects"], before);
    // And it goes on.
    import(&system, "ROBIN", &[]);
}

#[test]
fn without_a_model_nothing_is_imported() {
    let system = System::without_model().up();
    let from = fixture("seed-strong");
    system.refused(&["adapter", "import", &from, "--name", "ROBIN"], "no_model");
    assert!(listed(&system).is_empty());
}

/// What the worker writes, and what it says of itself then.
fn generated(system: &System, adapter: Option<Adapter>) -> Result<String, String> {
    let mut stream = UnixStream::connect(system.home().join("run/inference.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    if let Some(adapter) = adapter {
        frame::write(&mut stream, &InferenceRequest::Adapt { request: 1, adapter }).unwrap();
    }
    let request = Generate {
        request: 1,
        prompt: "<|message|>toggle_lantern()\n<|method|>".into(),
        max_tokens: 12,
        temperature: 0.0,
        top_p: 1.0,
        seed: 1,
        stop: Vec::new(),
        deadline_ms: 30_000,
    };
    frame::write(&mut stream, &InferenceRequest::Generate(request)).unwrap();
    loop {
        match frame::read(&mut stream).unwrap() {
            InferenceEvent::Done { text, .. } => return Ok(text),
            InferenceEvent::Failed { fault, .. } => return Err(fault.reason),
            _ => {}
        }
    }
}

#[test]
fn a_request_is_carried_out_with_the_blob_of_the_image_also_after_the_worker_was_killed() {
    let system = System::new().up();
    let imported = import(&system, "ROBIN", &[])["adapter"].clone();
    let path = blob_path(&system, &imported["weights"]);
    let bytes = fs::read(&path).unwrap();
    let adapter = Adapter {
        name: "ROBIN".into(),
        generation: 1,
        config: text(&system.inspect("memory_manager.adapters.ROBIN")["slots"]["config"]["value"]).into(),
        weights: Contents {
            path: path.to_str().unwrap().into(),
            digest: shared::json::from_hex(text(&imported["weights"]["$blob"]))
                .unwrap()
                .try_into()
                .unwrap(),
            bytes: bytes.len() as u64,
        },
    };
    let plain = generated(&system, None).unwrap();
    let adapted = generated(&system, Some(adapter.clone())).unwrap();
    assert_ne!(plain, adapted);
    assert_eq!(listed(&system)[0]["uses"], 1);
    let worker = system
        .processes()
        .into_iter()
        .find(|(name, _)| *name == "inference-worker");
    kill(Pid::from_raw(worker.unwrap().1), Signal::SIGKILL).unwrap();
    until("another worker knows nothing", || {
        listed(&system).first().filter(|one| one["uses"] == 0).map(|_| ())
    });
    assert_eq!(generated(&system, Some(adapter.clone())), Ok(adapted));
    assert_eq!(generated(&system, None), Ok(plain));
    // A blob that is damaged on disk is never used.
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    let unseen = Adapter {
        generation: 9,
        ..adapter
    };
    assert_eq!(generated(&system, Some(unseen)), Err("adapter_damaged".into()));
}

/// Asks of one directive run together, each with its own adapter or with none; what each writes is as if it were alone. Two that are the same
/// are one request.
#[test]
fn a_state_may_ask_with_several_adapters_at_once() {
    let system = System::new().up();
    for name in ["ROBIN", "BRICK"] {
        import(&system, name, &[]);
    }
    let source = r#"
def _process_synthesis_(self, event, payload):
    if event == "enter":
        return {
            "do": "infer_all",
            "asks": [{"prompt": "<|message|>toggle_lantern()\n<|method|>", "max_tokens": 12, "seed": 1, "adapter": name} for name in ["ROBIN", None, "BRICK", None]],
        }
    texts = [answer["text"] for answer in payload["answers"]]
    return self.fail("told", "|".join(texts), False)
"#;
    system.defined("states.synthesizing", source.trim_start());
    let plain = generated(&system, None).unwrap();
    let fault = system.refused(&["send", "genesis", "display_all", "--quiet"], "not_understood");
    let thought = system.ok(&["thoughts", &fault["thought"].to_string()])["thoughts"][0].clone();
    let mut answers: Vec<&str> = thought["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "ARTIFACT_GENERATED")
        .map(|event| text(&event["detail"]))
        .collect();
    answers.sort_unstable();
    let adapted = *answers.iter().find(|answer| **answer != plain).unwrap();
    let mut expected = [adapted, adapted, &plain];
    expected.sort_unstable();
    assert_eq!(answers, expected);
    for one in listed(&system) {
        assert_eq!(one["uses"], 1, "{one}");
    }
    // One that is not there is told.
    system.ok(&["adapter", "drop", "ROBIN"]);
    let reply = system.batos(&["send", "genesis", "display_more", "--quiet"]);
    assert_eq!(reply.document["ok"], false);
    assert!(text(&reply.document["message"]).contains("ROBIN"), "{reply:?}");
}

#[test]
fn the_model_may_be_a_blob_of_the_image() {
    let system = System::without_model().up();
    let model = system.folder().join("not.gguf");
    fs::write(&model, "a content that is no model").unwrap();
    let put = system.ok(&[
        "blob",
        "put",
        model.to_str().unwrap(),
        "--object",
        "pllm",
        "--slot",
        "weights",
    ]);
    let hash = text(&put["blob"]["$blob"]);
    system.ok(&["down"]);
    let system = system.configure(&format!("[inference]\nmodel = \"blob:{hash}\"\n"));
    system.start();
    // It looks into that file, and names it.
    until("the worker says what is wrong with the blob", || {
        let fault = system.status()["kernel"]["model_fault"].clone();
        fault
            .as_str()
            .filter(|fault| fault.contains(hash) && fault.contains("cannot be used"))
            .map(|_| ())
    });
}
