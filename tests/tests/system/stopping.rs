//! `down` while sends run: a clean end, and all that was acknowledged is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use shared::bridge::Call;

use crate::harness::{System, processes_of, until};

#[test]
fn down_under_load_ends_cleanly() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.defined(
        "thing",
        "def bump(self):\n    self.n = self.n + 1\n    self._p_changed = True\n    return self.n\n",
    );
    let acknowledged = AtomicU64::new(0);
    let asked = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut client = system.client(Duration::ZERO);
            let (acknowledged, asked) = (&acknowledged, &asked);
            scope.spawn(move || {
                loop {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let call = Call::Send {
                        receiver: "thing".into(),
                        selector: "bump".into(),
                        arguments: Vec::new(),
                        deadline_ms: None,
                    };
                    match client.call(call, None) {
                        Ok(_) => acknowledged.fetch_add(1, Ordering::SeqCst),
                        Err(_) => return,
                    };
                }
            });
        }
        until("sends run", || {
            (acknowledged.load(Ordering::SeqCst) > 50).then_some(())
        });
        system.ok(&["down"]);
    });
    assert!(processes_of(&system.home()).is_empty());
    let log = std::fs::read_to_string(system.home().join("logs/kernel.log")).unwrap();
    assert!(log.contains("closed"), "{log}");
    system.start();
    let n = system.inspect("thing")["slots"]["n"]["value"].as_u64().unwrap();
    let (acknowledged, asked) = (acknowledged.into_inner(), asked.into_inner());
    assert!(
        n >= acknowledged && n <= asked,
        "{n} bumps, {acknowledged} acknowledged, {asked} asked"
    );
}
