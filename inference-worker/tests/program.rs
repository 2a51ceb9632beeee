//! The program alone, at its socket, with the model that this repository ships.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shared::frame::{FrameError, read, write};
use shared::inference::{
    Adapter, AdapterAnswer, AdapterRequest, AdapterView, ChatMessage, Contents, Description, Embed, Embedder,
    Embedding, Finish, Generate, Hold, InferenceEvent, InferenceFault, InferenceRequest, MOST_TEXT_BYTES,
    Manifest, Options,
};

/// A running worker; killed and reaped when dropped.
struct Worker {
    folder: tempfile::TempDir,
    child: Child,
}

impl Worker {
    fn start(model: &Path) -> Worker {
        Worker::start_with(model, &[])
    }

    fn start_with(model: &Path, arguments: &[&Path]) -> Worker {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_inference-worker"))
            .arg("--model")
            .arg(model)
            .args(arguments)
            .arg("--socket")
            .arg(folder.path().join("socket"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Worker { folder, child }
    }

    fn attach(&self) -> UnixStream {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(self.folder.path().join("socket")) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    return stream;
                }
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn seed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/model")
}

/// The model, or the reason why there is none, once loading has ended.
fn describe(stream: &mut UnixStream) -> Result<Description, String> {
    let begun = Instant::now();
    loop {
        write(stream, &InferenceRequest::Describe).unwrap();
        match next(stream) {
            InferenceEvent::Described(Err(fault)) if fault.reason == "loading" => {
                assert!(begun.elapsed() < Duration::from_secs(30), "{fault}");
                std::thread::sleep(Duration::from_millis(20));
            }
            InferenceEvent::Described(described) => return described.map_err(|fault| fault.reason),
            other => panic!("{other:?}"),
        }
    }
}

/// Asks until the answer is the wanted one: the worker looks for changed files now and then.
fn until_described(stream: &mut UnixStream, wanted: impl Fn(&Result<Description, String>) -> bool) {
    let begun = Instant::now();
    loop {
        let described = describe(stream);
        if wanted(&described) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{described:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn next(stream: &mut UnixStream) -> InferenceEvent {
    let event: Result<InferenceEvent, FrameError> = read(stream);
    event.unwrap()
}

fn generate(request: u64, prompt: &str) -> Generate {
    Generate {
        request,
        prompt: prompt.into(),
        max_tokens: 200,
        temperature: 0.0,
        top_p: 1.0,
        seed: 1,
        stop: Vec::new(),
        deadline_ms: 30_000,
    }
}

/// The pieces joined, and the end.
fn collect(stream: &mut UnixStream, request: u64) -> (String, String, Finish) {
    let mut joined = String::new();
    loop {
        match next(stream) {
            InferenceEvent::Text { request: of, text } if of == request => joined.push_str(&text),
            InferenceEvent::Done {
                request: of,
                text,
                finish,
                ..
            } if of == request => return (joined, text, finish),
            InferenceEvent::Failed { fault, .. } => panic!("{fault}"),
            _ => {}
        }
    }
}

const PROMPT: &str = "<|covenant|>state lives in slots; a change ends with self._p_changed = True\n<|receiver|>#12\n\
    <|slots|>lantern:bool\n<|parents|>traits\n<|message|>toggle_lantern()\n<|method|>";

#[test]
fn it_describes_itself_and_writes_the_same_method_twice() {
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    let described = describe(&mut stream).unwrap();
    assert_eq!(described.name, "seed");
    assert!(described.parameters > 1_000_000);
    let mut texts = Vec::new();
    for request in [1, 2] {
        write(
            &mut stream,
            &InferenceRequest::Generate(generate(request, PROMPT)),
        )
        .unwrap();
        let (joined, text, finish) = collect(&mut stream, request);
        assert_eq!(joined, text);
        assert_eq!(finish, Finish::Stop);
        texts.push(text);
    }
    assert_eq!(texts[0], texts[1], "greedy decoding is not reproducible");
    assert!(texts[0].starts_with("def toggle_lantern(self)"), "{}", texts[0]);
}

#[test]
fn requests_of_two_askers_are_told_apart_and_one_can_be_cancelled() {
    let worker = Worker::start(&seed());
    let (mut first, mut second) = (worker.attach(), worker.attach());
    describe(&mut first).unwrap();
    let long = Generate {
        temperature: 1.5,
        max_tokens: 400,
        ..generate(7, PROMPT)
    };
    write(&mut first, &InferenceRequest::Generate(long)).unwrap();
    write(&mut first, &InferenceRequest::Cancel { request: 7 }).unwrap();
    write(&mut second, &InferenceRequest::Generate(generate(7, PROMPT))).unwrap();
    let (_, text, finish) = collect(&mut second, 7);
    assert_eq!(finish, Finish::Stop);
    assert!(text.starts_with("def toggle_lantern"), "{text}");
    let (_, _, finish) = collect(&mut first, 7);
    assert!(matches!(finish, Finish::Cancelled | Finish::Stop), "{finish:?}");
}

#[test]
fn a_missing_or_damaged_model_is_told_and_found_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let worker = Worker::start(&model);
    let mut stream = worker.attach();
    assert_eq!(describe(&mut stream).unwrap_err(), "model_missing");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(seed()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let weights = model.join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    until_described(&mut stream, |described| {
        described.as_ref().is_err_and(|reason| reason == "model_damaged")
    });
    std::fs::write(&weights, &whole).unwrap();
    until_described(&mut stream, |described| {
        described.as_ref().is_ok_and(|model| model.name == "seed")
    });
}

#[test]
fn a_prompt_beyond_the_context_and_random_bytes_are_refused_and_it_goes_on() {
    use std::io::Write as _;
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    describe(&mut stream).unwrap();
    let long = generate(1, &"word ".repeat(20_000));
    write(&mut stream, &InferenceRequest::Generate(long)).unwrap();
    match next(&mut stream) {
        InferenceEvent::Failed { fault, .. } => assert_eq!(fault.reason, "prompt_too_long"),
        other => panic!("{other:?}"),
    }
    let mut rude = worker.attach();
    rude.write_all(&[0x5a; 4096]).unwrap();
    assert_eq!(describe(&mut stream).unwrap().name, "seed");
}

#[test]
fn options_are_followed_and_what_cannot_be_meant_is_refused() {
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    let with = |options: Options, messages: Vec<ChatMessage>| InferenceRequest::GenerateWith {
        generate: generate(1, PROMPT),
        options,
        messages,
    };
    let likelihoods = Options {
        likelihoods: Some(2),
        ..Options::default()
    };
    write(&mut stream, &with(likelihoods, Vec::new())).unwrap();
    match next(&mut stream) {
        InferenceEvent::Likelihoods { tokens, .. } => assert_eq!(tokens[0].top.len(), 2),
        other => panic!("{other:?}"),
    }
    let (_, text, _) = collect(&mut stream, 1);
    assert!(
        text.ends_with("return self.lantern\n") || text.starts_with("def toggle_lantern"),
        "{text}"
    );
    let hello = ChatMessage {
        role: "user".into(),
        content: "hello".into(),
    };
    let wrong = Options {
        min_p: 2.0,
        ..Options::default()
    };
    for (request, named) in [
        (with(wrong, Vec::new()), "min_p"),
        (with(Options::default(), vec![hello]), "chat template"),
    ] {
        write(&mut stream, &request).unwrap();
        match next(&mut stream) {
            InferenceEvent::Failed { fault, .. } => {
                assert_eq!(fault.reason, "bad_request");
                assert!(fault.message.contains(named), "{fault}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn encoder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bert-mean")
}

/// The embedder, or the reason why there is none, once loading has ended.
fn describe_embedder(stream: &mut UnixStream) -> Result<Embedder, String> {
    let begun = Instant::now();
    loop {
        write(stream, &InferenceRequest::DescribeEmbedder).unwrap();
        match next(stream) {
            InferenceEvent::EmbedderDescribed(Err(fault)) if fault.reason == "loading" => {
                assert!(begun.elapsed() < Duration::from_secs(30), "{fault}");
                std::thread::sleep(Duration::from_millis(20));
            }
            InferenceEvent::EmbedderDescribed(described) => return described.map_err(|fault| fault.reason),
            other => panic!("{other:?}"),
        }
    }
}

fn embed(stream: &mut UnixStream, request: u64, texts: &[&str]) -> Result<Vec<Embedding>, String> {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    let embed = Embed {
        request,
        texts,
        deadline_ms: 30_000,
    };
    write(stream, &InferenceRequest::Embed(embed)).unwrap();
    match next(stream) {
        InferenceEvent::Embedded {
            request: of,
            embeddings,
            ..
        } if of == request => Ok(embeddings),
        InferenceEvent::Failed { request: of, fault } if of == request => Err(fault.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_are_embedded_beside_the_model_and_too_many_are_refused() {
    let worker = Worker::start_with(&seed(), &[Path::new("--embedder"), &encoder()]);
    let mut stream = worker.attach();
    let described = describe_embedder(&mut stream).unwrap();
    assert_eq!((described.dimension, described.most_tokens), (48, 64));
    let texts = ["the cat sits on the mat", "the cat sits on the mat", "lantern"];
    let found = embed(&mut stream, 1, &texts).unwrap();
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0].vector, found[2].vector);
    assert_eq!(found[0].vector.len(), 48);
    assert_eq!(embed(&mut stream, 2, &["x"; 1_025]).unwrap_err(), "bad_request");
    let long = "x".repeat(MOST_TEXT_BYTES + 1);
    assert_eq!(embed(&mut stream, 3, &[&long]).unwrap_err(), "bad_request");
    assert_eq!(embed(&mut stream, 4, &[&long[1..]]).unwrap().len(), 1);
    // The model is there as well.
    assert_eq!(describe(&mut stream).unwrap().name, "seed");
}

#[test]
fn without_an_embedder_the_model_works_and_one_that_comes_is_found() {
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    assert_eq!(describe_embedder(&mut stream).unwrap_err(), "no_embedder");
    assert_eq!(embed(&mut stream, 1, &["x"]).unwrap_err(), "no_embedder");

    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later");
    let worker = Worker::start_with(&seed(), &[Path::new("--embedder"), &later]);
    let mut stream = worker.attach();
    assert_eq!(describe_embedder(&mut stream).unwrap_err(), "model_missing");
    std::os::unix::fs::symlink(encoder(), &later).unwrap();
    let begun = Instant::now();
    while describe_embedder(&mut stream).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(embed(&mut stream, 2, &["x"]).unwrap().len(), 1);
}

#[test]
fn it_embeds_lines_without_a_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.txt");
    std::fs::write(&file, "the cat\nthe cat\r\n\nlantern").unwrap();
    let embed = |file: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inference-worker"));
        let done = command
            .args(["embed", "--batch", "3", "--model"])
            .arg(encoder())
            .arg(file)
            .output();
        let done = done.unwrap();
        (
            done.status.code(),
            String::from_utf8(done.stdout).unwrap(),
            String::from_utf8(done.stderr).unwrap(),
        )
    };
    let (code, out, error) = embed(&file);
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, lines[1]));
    assert_ne!(lines[0], lines[3]);
    assert!(
        lines[2].starts_with("{\"tokens\":2,\"is_cut\":false,\"vector\":["),
        "{}",
        lines[2]
    );
    std::fs::write(&file, "x".repeat(MOST_TEXT_BYTES + 1)).unwrap();
    let (code, _, error) = embed(&file);
    assert!(
        code != Some(0) && error.contains("more than 65536 bytes"),
        "{error}"
    );
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    let (code, _, error) = embed(&file);
    assert!(code != Some(0) && error.contains("not UTF-8"), "{error}");
}

fn generate_command(arguments: &[&str]) -> (bool, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_inference-worker"))
        .arg("generate")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn it_generates_without_a_kernel() {
    let model = seed();
    let model = model.to_str().unwrap();
    for weights in ["as-stored", "q8_0"] {
        let arguments = [
            "--model",
            model,
            "--prompt",
            PROMPT,
            "--figures",
            "--weights",
            weights,
        ];
        let (succeeded, out, error) = generate_command(&arguments);
        assert!(succeeded, "{error}");
        assert_eq!(
            out,
            "def toggle_lantern(self):\n    self.lantern = not self.lantern\n    self._p_changed = True\n    return self.lantern\n\n"
        );
        assert!(error.contains("23 tokens of prompt"), "{error}");
    }
    let (succeeded, _, error) = generate_command(&["--model", "/nowhere", "--prompt", "x"]);
    assert!(!succeeded && error.contains("does not exist"), "{error}");
}

fn adapter_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/seed-strong")
}

fn adapter(name: &str) -> Adapter {
    let weights = adapter_folder().join("adapter_model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    Adapter {
        name: name.into(),
        generation: 1,
        config: std::fs::read_to_string(adapter_folder().join("adapter_config.json")).unwrap(),
        weights: Contents {
            path: weights.to_str().unwrap().into(),
            digest: *blake3::hash(&bytes).as_bytes(),
            bytes: bytes.len() as u64,
        },
    }
}

#[test]
fn it_generates_with_an_adapter_and_without_a_kernel() {
    let model = seed();
    let model = model.to_str().unwrap();
    let with = |adapter: &str| {
        generate_command(&[
            "--model",
            model,
            "--prompt",
            PROMPT,
            "--max-tokens",
            "24",
            "--adapter",
            adapter,
        ])
    };
    let (succeeded, text, error) = with(adapter_folder().to_str().unwrap());
    assert!(succeeded, "{error}");
    assert!(
        !text.starts_with("def toggle_lantern(self):\n    self.lantern = not"),
        "{text}"
    );
    assert_eq!(with(adapter_folder().to_str().unwrap()).1, text);
    let (succeeded, _, error) = with("/nowhere");
    assert!(!succeeded && error.contains("/nowhere"), "{error}");
    let refused = adapter_folder().with_file_name("refused/dora");
    let (succeeded, _, error) = with(refused.to_str().unwrap());
    assert!(!succeeded && error.contains("DoRA"), "{error}");
    let other = adapter_folder().with_file_name("llama3-all");
    let (succeeded, _, error) = with(other.to_str().unwrap());
    assert!(!succeeded && error.contains("another base"), "{error}");
}

/// The worker's own answer about adapters.
fn adapters(stream: &mut UnixStream, ask: AdapterRequest) -> Result<AdapterAnswer, InferenceFault> {
    write(stream, &InferenceRequest::Adapters { request: 9, ask }).unwrap();
    loop {
        if let InferenceEvent::Adapters { answer, .. } = next(stream) {
            return answer;
        }
    }
}

fn list(stream: &mut UnixStream) -> (Vec<AdapterView>, Manifest) {
    match adapters(stream, AdapterRequest::List) {
        Ok(AdapterAnswer::Listed { adapters, manifest }) => (adapters, manifest),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_with_adapters_and_without_are_served_together_and_do_not_mix() {
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    describe(&mut stream).unwrap();
    let ask = |stream: &mut UnixStream, request: u64, name: Option<&str>| {
        if let Some(name) = name {
            let adapter = adapter(name);
            write(stream, &InferenceRequest::Adapt { request, adapter }).unwrap();
        }
        let short = Generate {
            max_tokens: 30,
            ..generate(request, PROMPT)
        };
        write(stream, &InferenceRequest::Generate(short)).unwrap();
    };
    ask(&mut stream, 1, None);
    let (_, plain, _) = collect(&mut stream, 1);
    ask(&mut stream, 2, Some("a"));
    let (_, adapted, _) = collect(&mut stream, 2);
    assert_ne!(plain, adapted);
    // All at once: two adapters of the same weights, and the model alone; some of them cold.
    for request in 10..22 {
        ask(
            &mut stream,
            request,
            [None, Some("a"), Some("b")][request as usize % 3],
        );
    }
    let mut texts = std::collections::HashMap::new();
    while texts.len() < 12 {
        match next(&mut stream) {
            InferenceEvent::Done { request, text, .. } => drop(texts.insert(request, text)),
            InferenceEvent::Failed { fault, .. } => panic!("{fault}"),
            _ => {}
        }
    }
    for (request, text) in texts {
        let wanted = if request % 3 == 0 { &plain } else { &adapted };
        assert_eq!(&text, wanted, "request {request}");
    }
    let (views, _) = list(&mut stream);
    let uses: Vec<(&str, u64, u32)> = views
        .iter()
        .map(|view| (view.name.as_str(), view.uses, view.in_flight))
        .collect();
    assert_eq!(uses, [("a", 5, 0), ("b", 4, 0)]);
    // One that cannot be loaded fails alone.
    let mut missing = adapter("c");
    missing.weights.path = "/nowhere".into();
    write(
        &mut stream,
        &InferenceRequest::Adapt {
            request: 30,
            adapter: missing,
        },
    )
    .unwrap();
    write(&mut stream, &InferenceRequest::Generate(generate(30, PROMPT))).unwrap();
    match next(&mut stream) {
        InferenceEvent::Failed { request: 30, fault } => assert_eq!(fault.reason, "adapter_missing"),
        other => panic!("{other:?}"),
    }
    ask(&mut stream, 31, None);
    assert_eq!(collect(&mut stream, 31).1, plain);
}

/// The tolerance that docs/adapters.md states: what allocators keep and what threads touch is not counted.
fn assert_adds_up(manifest: &Manifest, when: &str) {
    let (used, resident) = (manifest.used_bytes(), manifest.resident_bytes);
    let tolerance = resident * 3 / 100 + (8 << 20);
    assert!(
        used.abs_diff(resident) <= tolerance,
        "{when}: {used} of {resident}: {manifest:?}"
    );
}

#[test]
fn the_manifest_adds_up_to_what_the_process_uses() {
    let worker = Worker::start(&seed());
    let mut stream = worker.attach();
    describe(&mut stream).unwrap();
    let (_, empty) = list(&mut stream);
    assert_adds_up(&empty, "after loading");
    // The weights stay in the two bytes each that they have in the file.
    let weights = std::fs::metadata(seed().join("model.safetensors")).unwrap();
    assert!(empty.base_bytes.abs_diff(weights.len()) < 1 << 20, "{empty:?}");
    let mut staged = 0;
    for at in 0..400 {
        let stage = AdapterRequest::Stage {
            adapter: adapter(&format!("a{at}")),
            hold: if at % 2 == 0 { Hold::Warm } else { Hold::Pinned },
        };
        match adapters(&mut stream, stage) {
            Ok(AdapterAnswer::Staged(view)) => staged += view.summary.unwrap().bytes,
            other => panic!("{other:?}"),
        }
    }
    let (_, full) = list(&mut stream);
    assert_eq!(full.warm_bytes + full.hot_bytes, staged);
    assert!(staged > 40 << 20, "{staged} bytes show nothing");
    assert_adds_up(&full, "with 400 adapters");
    // What they take is what the system counts, far more narrowly than the whole.
    let grown = full.resident_bytes - empty.resident_bytes;
    assert!(grown.abs_diff(staged) < 4 << 20, "{grown} for {staged}");
    write(&mut stream, &InferenceRequest::Generate(generate(1, PROMPT))).unwrap();
    collect(&mut stream, 1);
    let (_, worked) = list(&mut stream);
    assert!(worked.cache_bytes > 0 && worked.scratch_bytes > 0, "{worked:?}");
    assert_adds_up(&worked, "after a text");
    for at in 0..400 {
        let name = format!("a{at}");
        assert_eq!(
            adapters(
                &mut stream,
                AdapterRequest::Forget {
                    name,
                    generation: None
                }
            ),
            Ok(AdapterAnswer::Forgotten(1))
        );
    }
    let begun = Instant::now();
    let left = loop {
        let (views, left) = list(&mut stream);
        assert!(views.is_empty());
        if left.warm_bytes + left.hot_bytes == 0 {
            break left;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{left:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_adds_up(&left, "with none left");
    let given_back = full.resident_bytes - left.resident_bytes.min(full.resident_bytes);
    assert!(
        given_back + (8 << 20) > staged,
        "only {given_back} of {staged} came back"
    );
}
