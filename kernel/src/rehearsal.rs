//! `kernel rehearse`: whether this program could take an image over from the kernel that serves it. Reads the real image, beside
//! that kernel, and changes nothing.

use std::path::Path;

use shared::id::ObjectId;

use crate::edit::inspected;
use crate::image::standby::{Followed, Standby};
use crate::mind::genesis;
use crate::overlay::World;

/// What was read, in one line; the error is the first thing that this program cannot read.
pub fn rehearse(image: &Path) -> anyhow::Result<String> {
    let standby = Standby::open(image)?;
    while standby.follow()? == Followed::Behind {}
    let state = standby.state();
    let world = World::of(state);
    let mut primordial = 0;
    for id in (ObjectId::LOBBY.0..)
        .take(genesis::OBJECTS as usize)
        .map(ObjectId)
    {
        // A person may have thrown one of them away, but the lobby stays.
        if state.object(id).is_none() && id != ObjectId::LOBBY {
            continue;
        }
        inspected(world, &id.to_string())?;
        primordial += 1;
    }
    let missions = state.missions().len();
    let standing = state.standing();
    Ok(serde_json::json!({
        "ok": true,
        "last": standing.last.0,
        "objects": standing.objects,
        "primordial": primordial,
        "missions": missions,
    })
    .to_string())
}
