//! The inbox watched by file events. Events are hints: names that were renamed into the inbox are whole and need no look at the others;
//! everything else, and a queue that ran over, asks for a look at all.

use std::ffi::OsString;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};
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

pub struct Arrivals {
    news: Arc<Mutex<News>>,
    /// Held for its thread; `None` where nothing can be watched.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Arrivals {
    /// Begins to watch; [`Event::Inbox`] says that there is news.
    pub fn watch(inbox: &Path, events: Sender<Event>) -> Arrivals {
        let news = Arc::new(Mutex::new(News::default()));
        let told = news.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let mut news = told.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = news.whole.is_empty() && !news.needs_look;
            note(&mut news, &event);
            if was_empty && (news.needs_look || !news.whole.is_empty()) {
                let _ = events.send(Event::Inbox);
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            watcher.watch(inbox, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        Arrivals {
            news,
            _watcher: watched
                .inspect_err(|error| warn!("cannot watch the inbox ({error}); it is looked at every 5 s"))
                .ok(),
        }
    }

    /// What was said since the last call.
    pub fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn note(news: &mut News, event: &notify::Result<notify::Event>) {
    let Ok(event) = event else {
        news.needs_look = true;
        return;
    };
    match event.kind {
        _ if event.need_rescan() => news.needs_look = true,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            let name = event.paths.last().and_then(|path| path.file_name());
            match name {
                Some(name) if is_candidate(name) && news.whole.len() < MOST_NAMES => {
                    news.whole.push(name.to_owned());
                }
                Some(name) => news.needs_look |= is_candidate(name),
                None => news.needs_look = true,
            }
        }
        // What looking into the inbox causes itself: answering it by another look would never end.
        EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => {}
        // What was moved out or removed, by a claim for one.
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::Both)) => {}
        _ => {
            news.needs_look |= event
                .paths
                .iter()
                .filter_map(|path| path.file_name())
                .any(is_candidate)
        }
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
        while !arrivals.news.lock().unwrap().needs_look {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "the flood is not noticed"
            );
            std::thread::yield_now();
        }
        assert_eq!(arrivals.take().whole.len(), MOST_NAMES);
    }
}
