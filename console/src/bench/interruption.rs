//! A bench that is interrupted takes its system and its folder with it: they are a session of their own, which no key reaches.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};

use shared::home::Home;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

use crate::down;

/// Waits for an interruption until it is dropped; once there is one, whoever drops this waits for the end of the process.
pub struct Interruption {
    handle: Handle,
    waiting: Option<JoinHandle<()>>,
}

impl Interruption {
    pub fn of(home: &Home, folder: &Path) -> io::Result<Interruption> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let (home, folder) = (home.clone(), folder.to_owned());
        let waiting = thread::Builder::new()
            .name("interruption".into())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    eprintln!("interrupted; the system in {} is stopped", folder.display());
                    let _ = down::run(&home);
                    let _ = fs::remove_dir_all(&folder);
                    let _ = emulate_default_handler(signal);
                }
            })?;
        Ok(Interruption {
            handle,
            waiting: Some(waiting),
        })
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        self.handle.close();
        // A bench whose system was stopped under it fails; it must not end of that before it ends of the signal.
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}
