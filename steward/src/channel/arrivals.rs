//! The inbox watched by file events. Events are hints: names that were renamed into the inbox are whole and need no look at the others;
//! everything else, and a queue that ran over, asks for a look at all.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tracing::warn;

use super::inbox::is_candidate;
use crate::event::Event;

/// Names kept between two looks of the loop; more ask for a look at all.
const MOST_NAMES: usize = 1024;

/// What the events said since it was asked last.
#[derive(Default)]
pub struct News {
    /// Renamed into the inbox.
    pub whole: Vec<OsString>,
    pub needs_look: bool,
}

pub struct Arrivals(Arc<Mutex<News>>);

impl Arrivals {
    /// Begins to watch, on a thread until the process ends; [`Event::Inbox`] says that there is news. Only what changes the folder is asked for:
    /// a look at many files would fill the queue with itself.
    pub fn watch(inbox: &Path, events: Sender<Event>) -> Arrivals {
        let news = Arc::new(Mutex::new(News::default()));
        let told = news.clone();
        let begun = open(inbox).and_then(|queue| {
            let name = "inbox".to_owned();
            thread::Builder::new()
                .name(name)
                .spawn(move || listen(&queue, &told, &events))
        });
        if let Err(error) = begun {
            warn!("cannot watch the inbox ({error}); it is looked at every 5 s");
        }
        Arrivals(news)
    }

    /// What was said since the last call.
    pub fn take(&self) -> News {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn open(inbox: &Path) -> io::Result<OwnedFd> {
    let queue = inotify::init(CreateFlags::CLOEXEC)?;
    let wanted = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::ATTRIB;
    inotify::add_watch(&queue, inbox, wanted | WatchFlags::ONLYDIR)?;
    Ok(queue)
}

fn listen(queue: &OwnedFd, told: &Mutex<News>, events: &Sender<Event>) {
    let mut bytes = [MaybeUninit::uninit(); 8192];
    let mut reader = Reader::new(queue, &mut bytes);
    loop {
        let (flags, name) = match reader.next() {
            Ok(event) => {
                let name = event
                    .file_name()
                    .map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                (event.events(), name)
            }
            Err(Errno::INTR) => continue,
            Err(error) => {
                warn!("the inbox cannot be watched any more ({error}); it is looked at every 5 s");
                return;
            }
        };
        let mut news = told.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = news.whole.is_empty() && !news.needs_look;
        note(&mut news, flags, name);
        let has_news = news.needs_look || !news.whole.is_empty();
        if was_empty && has_news && events.send(Event::Inbox).is_err() {
            return;
        }
    }
}

fn note(news: &mut News, flags: ReadFlags, name: Option<OsString>) {
    match name {
        _ if flags.contains(ReadFlags::QUEUE_OVERFLOW) => news.needs_look = true,
        Some(name) if is_candidate(&name) => {
            match flags.contains(ReadFlags::MOVED_TO) && news.whole.len() < MOST_NAMES {
                true => news.whole.push(name),
                false => news.needs_look = true,
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_look_is_no_news_and_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = folder.path().join("inbox");
        fs::create_dir(&inbox).unwrap();
        let (sender, events) = channel();
        let arrivals = Arrivals::watch(&inbox, sender);
        let wait = || {
            events
                .recv_timeout(Duration::from_secs(10))
                .map(|_| arrivals.take())
                .unwrap()
        };
        assert_eq!(fs::read_dir(&inbox).unwrap().count(), 0);
        fs::write(inbox.join("note.txt"), "x").unwrap();
        fs::write(inbox.join(".hidden.json"), "x").unwrap();
        let aside = folder.path().join("a");
        fs::write(&aside, "{}").unwrap();
        fs::rename(&aside, inbox.join("a.json")).unwrap();
        let news = wait();
        assert_eq!(
            (news.whole, news.needs_look),
            (vec![OsString::from("a.json")], false)
        );
        fs::rename(inbox.join(".hidden.json"), inbox.join("b.json")).unwrap();
        assert_eq!(wait().whole, ["b.json"]);
        fs::write(inbox.join("c.json"), "{}").unwrap();
        let news = wait();
        assert!(news.needs_look && news.whole.is_empty());
        // A flood is not kept.
        for number in 0..2 * MOST_NAMES {
            fs::write(&aside, "{}").unwrap();
            fs::rename(&aside, inbox.join(format!("{number}.json"))).unwrap();
        }
        let begun = Instant::now();
        while !arrivals.0.lock().unwrap().needs_look {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "the flood is not noticed"
            );
            std::thread::yield_now();
        }
        assert_eq!(arrivals.take().whole.len(), MOST_NAMES);
    }
}
