//! A kernel alone with a scripted model, so that the machine of thought is tried apart from any model: what the script says comes
//! in the real frames over the real socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use shared::frame::{self, encode};
use shared::inference::{Description, Finish, Generate, InferenceEvent, InferenceFault, InferenceRequest};

use crate::harness::{System, program, until};

/// What the model does with a prompt.
pub enum Act {
    Say(String),
    /// Nothing, until the kernel goes.
    Silence,
    /// The connection ends in the middle of the text.
    HangUp,
    /// Bytes that are no frame.
    Garbage,
    Refuse(&'static str, &'static str),
}

type Script = dyn Fn(&Generate) -> Act + Send + Sync;

/// A home whose kernel runs without a steward.
pub struct Scripted {
    pub system: System,
    asked: Arc<Mutex<Vec<Generate>>>,
    kernel: Option<Child>,
    arguments: Vec<String>,
}

impl Scripted {
    pub fn up(script: impl Fn(&Generate) -> Act + Send + Sync + 'static) -> Scripted {
        Scripted::with_arguments(&[], script)
    }

    /// The kernel gets these arguments, too.
    pub fn with_arguments(
        arguments: &[&str],
        script: impl Fn(&Generate) -> Act + Send + Sync + 'static,
    ) -> Scripted {
        let system = System::without_model();
        std::fs::create_dir_all(system.home().join("run")).unwrap();
        let listener = UnixListener::bind(system.folder().join("model.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Generate>>> = Arc::default();
        let (heard, script): (_, Arc<Script>) = (asked.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, script) = (heard.clone(), script.clone());
                thread::spawn(move || converse(stream, &heard, script.as_ref()));
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

    /// The prompts so far.
    pub fn asked(&self) -> Vec<Generate> {
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

fn converse(mut stream: UnixStream, asked: &Mutex<Vec<Generate>>, script: &Script) {
    loop {
        let generate = match frame::read::<InferenceRequest>(&mut stream) {
            Ok(InferenceRequest::Describe) => {
                tell(&mut stream, &InferenceEvent::Described(Ok(description())));
                continue;
            }
            Ok(InferenceRequest::Generate(generate) | InferenceRequest::GenerateWith { generate, .. }) => {
                generate
            }
            Ok(_) => continue,
            Err(_) => return,
        };
        asked.lock().unwrap().push(generate.clone());
        let request = generate.request;
        match script(&generate) {
            Act::Say(text) => {
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
