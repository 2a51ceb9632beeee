//! How a method came to be: who put it there, and the thought that wrote it.

use shared::bridge::{Answer, Fault, OriginView};
use shared::reason;
use shared::value::Value;

use crate::kernel::Kernel;
use crate::names::name_of;

impl Kernel {
    /// The origin of the method that an object understands a selector by, its own or an inherited one.
    pub fn why(&self, object: &str, selector: &str) -> Result<Answer, Fault> {
        let id = self.resolve(object)?;
        let world = self.world();
        let found = world.look_up(id, selector).found;
        let Some(found) = found else {
            return Err(Fault::new(
                reason::NO_SLOT,
                format!("{object} does not understand {selector} yet; send it and it will be thought about"),
            ));
        };
        let Value::Method(source) = found.value else {
            return Err(Fault::new(
                reason::BAD_ARGUMENT,
                format!(
                    "{object}.{selector} is no method; `batos history {object} {selector}` tells who put it there"
                ),
            ));
        };
        let transaction = self.put_by(found.holder, selector)?;
        let thought = transaction
            .thought
            .and_then(|thought| self.image.state.mission(thought))
            // A later thought may have changed the slot in another way than by writing it.
            .filter(|mission| mission.receiver == found.holder && mission.selector == selector);
        Ok(Answer::Why(Box::new(OriginView {
            holder: found.holder,
            name: name_of(world, found.holder),
            selector: selector.to_owned(),
            source,
            transaction,
            thought: thought.map(|mission| crate::kernel::view(mission, true)),
        })))
    }
}
