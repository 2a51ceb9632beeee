//! A kernel alone with a scripted model, so that the machine of thought is tried apart from any model: what the script says comes
//! in the real frames over the real socket.

use std::io::{Read, Write};
use std::ops::Deref;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use shared::frame::{self, encode};
use shared::inference::{
    Adapter, ChatMessage, Description, Finish, Generate, Grammar, InferenceEvent, InferenceFault,
    InferenceRequest, Likelihood, Options,
};

use crate::harness::{System, program, until};

/// What the model does with a prompt.
pub enum Act {
    Say(String),
    /// The same, of which each token is so likely, as a natural logarithm.
    SayUnsurely(String, f32),
    /// Nothing, until the kernel goes.
    Silence,
    /// The model's deadline comes first.
    Late,
    /// The connection ends in the middle of the text.
    HangUp,
    /// Bytes that are no frame.
    Garbage,
    Refuse(&'static str, &'static str),
}

/// What the kernel asks of the model.
#[derive(Clone, Debug)]
pub struct Asked {
    generate: Generate,
    pub options: Options,
    pub messages: Vec<ChatMessage>,
    pub adapter: Option<Adapter>,
    pub grammar: Option<Grammar>,
}

impl Deref for Asked {
    type Target = Generate;

    fn deref(&self) -> &Generate {
        &self.generate
    }
}

impl Asked {
    /// All that the model reads.
    pub fn words(&self) -> String {
        let turns = self.messages.iter().map(|turn| turn.content.clone() + "\n");
        turns.chain([self.prompt.clone()]).collect()
    }
}

type Script = dyn Fn(&Asked) -> Act + Send + Sync;

/// A home whose kernel runs without a steward.
pub struct Scripted {
    pub system: System,
    asked: Arc<Mutex<Vec<Asked>>>,
    kernel: Option<Child>,
    arguments: Vec<String>,
}

impl Scripted {
    /// A model that can write methods and nothing else.
    pub fn up(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Scripted {
        Scripted::with_arguments(&[], script)
    }

    /// The kernel gets these arguments, too.
    pub fn with_arguments(
        arguments: &[&str],
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Scripted {
        Scripted::of(Some(&["method"]), arguments, script)
    }

    /// A model that says nothing of what it can do, as most.
    pub fn speaking(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Scripted {
        Scripted::of(None, &[], script)
    }

    /// A model whose card declares these abilities.
    pub fn of(
        abilities: Option<&[&str]>,
        arguments: &[&str],
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Scripted {
        let abilities: Option<Vec<String>> =
            abilities.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let system = System::without_model();
        std::fs::create_dir_all(system.home().join("run")).unwrap();
        let listener = UnixListener::bind(system.folder().join("model.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (heard, script): (_, Arc<Script>) = (asked.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, script, abilities) = (heard.clone(), script.clone(), abilities.clone());
                thread::spawn(move || converse(stream, abilities, &heard, script.as_ref()));
            }
        });
        let mut scripted = Scripted {
            system,
            asked,
            kernel: None,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        };
        scripted.start();
        scripted
    }

    pub fn start(&mut self) {
        let home = self.system.home();
        let log = std::fs::File::create(self.system.folder().join("kernel.log")).unwrap();
        let child = Command::new(program("kernel"))
            .arg("--home")
            .arg(&home)
            .arg("--inference-socket")
            .arg(self.system.folder().join("model.sock"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.kernel = Some(child);
        until("the kernel answers", || {
            UnixStream::connect(home.join("run/kernel.sock")).ok()
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut kernel) = self.kernel.take() {
            let _ = kernel.kill();
            let _ = kernel.wait();
        }
    }

    /// A clean stop, waited for.
    pub fn stop(&mut self) {
        if let Some(mut kernel) = self.kernel.take() {
            let pid = nix::unistd::Pid::from_raw(kernel.id() as i32);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            assert!(kernel.wait().unwrap().success());
        }
    }

    pub fn kernel_pid(&self) -> i32 {
        self.kernel.as_ref().map_or(0, |kernel| kernel.id() as i32)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = std::fs::read_to_string(self.system.folder().join("kernel.log")).unwrap_or_default();
            eprintln!("-- kernel.log\n{log}");
        }
        self.kill();
    }
}

fn converse(
    mut stream: UnixStream,
    abilities: Option<Vec<String>>,
    heard: &Mutex<Vec<Asked>>,
    script: &Script,
) {
    let (mut adapter, mut grammar) = (None, None);
    loop {
        let asked = match frame::read::<InferenceRequest>(&mut stream) {
            Ok(InferenceRequest::Describe) => {
                tell(&mut stream, &InferenceEvent::Described(Ok(description())));
                continue;
            }
            Ok(InferenceRequest::DescribeEmbedder) => {
                let none = InferenceFault::new("no_embedder", "this model encodes nothing");
                tell(&mut stream, &InferenceEvent::EmbedderDescribed(Err(none)));
                continue;
            }
            Ok(InferenceRequest::Abilities) => {
                tell(&mut stream, &InferenceEvent::Abilities(abilities.clone()));
                continue;
            }
            Ok(InferenceRequest::Adapt { adapter: told, .. }) => {
                adapter = Some(told);
                continue;
            }
            Ok(InferenceRequest::Constrain { grammar: told, .. }) => {
                grammar = Some(told);
                continue;
            }
            Ok(InferenceRequest::GenerateWith {
                generate,
                options,
                messages,
            }) => Asked {
                generate,
                options,
                messages,
                adapter: adapter.take(),
                grammar: grammar.take(),
            },
            Ok(_) => continue,
            Err(_) => return,
        };
        heard.lock().unwrap().push(asked.clone());
        let request = asked.request;
        let said = script(&asked);
        if let Act::SayUnsurely(text, logprob) = &said {
            assert!(asked.options.likelihoods.is_some(), "nobody asked how sure it is");
            let tokens = text.split_whitespace().map(|_| Likelihood {
                token: 1,
                logprob: *logprob,
                top: Vec::new(),
            });
            let tokens = tokens.collect();
            tell(&mut stream, &InferenceEvent::Likelihoods { request, tokens });
        }
        match said {
            Act::Late => tell(
                &mut stream,
                &InferenceEvent::Done {
                    request,
                    text: "def".into(),
                    finish: Finish::Deadline,
                    prompt_tokens: 1,
                    generated_tokens: 1,
                    elapsed_ms: asked.deadline_ms,
                },
            ),
            Act::Say(text) | Act::SayUnsurely(text, _) => {
                let tokens = text.split_whitespace().count() as u32;
                let piece = text.clone();
                tell(&mut stream, &InferenceEvent::Text { request, text: piece });
                tell(
                    &mut stream,
                    &InferenceEvent::Done {
                        request,
                        text,
                        finish: Finish::Stop,
                        prompt_tokens: 1,
                        generated_tokens: tokens,
                        elapsed_ms: 1,
                    },
                );
            }
            Act::Silence => {
                // Until the kernel closes it.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.read(&mut [0; 64]);
                return;
            }
            Act::HangUp => {
                let whole = encode(&InferenceEvent::Text {
                    request,
                    text: "def half".into(),
                })
                .unwrap();
                let _ = stream.write_all(&whole[..whole.len() - 3]);
                return;
            }
            Act::Garbage => {
                let _ = stream.write_all(&[0x42; 512]);
                return;
            }
            Act::Refuse(reason, message) => tell(
                &mut stream,
                &InferenceEvent::Failed {
                    request,
                    fault: InferenceFault {
                        reason: reason.into(),
                        message: message.into(),
                    },
                },
            ),
        }
    }
}

fn tell(stream: &mut UnixStream, event: &InferenceEvent) {
    let _ = frame::write(stream, event);
}

fn description() -> Description {
    Description {
        name: "scripted".into(),
        parameters: 1,
        context_tokens: 4096,
        path: "nowhere".into(),
        load_ms: 0,
    }
}
