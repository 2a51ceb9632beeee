//! For unit tests: something that speaks the kernel's frames.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use shared::bridge::{Hello, Request, ToClient, Welcome};
use shared::frame;
use shared::home::Home;
use shared::id::Epoch;

pub struct FakeKernel;

impl FakeKernel {
    /// Answers every request of every client with what `answer` says, until the test process ends.
    pub fn start(
        home: &Home,
        answer: impl Fn(Request) -> Vec<ToClient> + Send + Sync + 'static,
    ) -> FakeKernel {
        std::fs::create_dir_all(home.run()).unwrap();
        let listener = UnixListener::bind(home.kernel_socket()).unwrap();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let answer = answer.clone();
                thread::spawn(move || {
                    let _: Hello = frame::read(&mut stream).unwrap();
                    frame::write(
                        &mut stream,
                        &Welcome {
                            kernel: "fake".into(),
                            epoch: Epoch(1),
                        },
                    )
                    .unwrap();
                    while let Ok(request) = frame::read(&mut stream) {
                        for said in answer(request) {
                            frame::write(&mut stream, &said).unwrap();
                        }
                    }
                });
            }
        });
        FakeKernel
    }
}
