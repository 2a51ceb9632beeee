//! Delegation: how a message finds its slot.
//!
//! Depth first along the ordered parents, each object at most once, the first holder wins: cycles are safe and ambiguity is
//! decided by order (M1).

use std::collections::HashSet;

use crate::id::ObjectId;
use crate::object::PARENTS;
use crate::value::Value;

/// Where lookups read. Each call is one entry of the reader's read set, an absent slot included.
pub trait Slots {
    type Error;

    /// The value of a slot on that object alone; `None` when it has none or the object does not exist.
    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error>;
}

/// A found slot and the object that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub holder: ObjectId,
    pub value: Value,
}

/// The first slot named `selector` along the receiver's delegation chain.
pub fn lookup<S: Slots>(
    slots: &mut S,
    receiver: ObjectId,
    selector: &str,
) -> Result<Option<Found>, S::Error> {
    let mut answer = None;
    walk(slots, receiver, |slots, holder| {
        answer = slots.slot(holder, selector)?.map(|value| Found { holder, value });
        Ok(answer.is_some())
    })?;
    Ok(answer)
}

/// The receiver and everything it delegates to, in lookup order.
pub fn chain<S: Slots>(slots: &mut S, receiver: ObjectId) -> Result<Vec<ObjectId>, S::Error> {
    let mut order = Vec::new();
    walk(slots, receiver, |_, holder| {
        order.push(holder);
        Ok(false)
    })?;
    Ok(order)
}

/// Visits in lookup order until `visit` answers true.
fn walk<S: Slots>(
    slots: &mut S,
    receiver: ObjectId,
    mut visit: impl FnMut(&mut S, ObjectId) -> Result<bool, S::Error>,
) -> Result<(), S::Error> {
    let mut seen = HashSet::new();
    let mut pending = vec![receiver];
    while let Some(object) = pending.pop() {
        if !seen.insert(object) {
            continue;
        }
        if visit(slots, object)? {
            return Ok(());
        }
        if let Some(Value::List(parents)) = slots.slot(object, PARENTS)? {
            pending.extend(parents.iter().rev().filter_map(|parent| match parent {
                Value::Ref(id) => Some(*id),
                _ => None,
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct World(HashMap<(u64, &'static str), Value>);

    impl Slots for World {
        type Error = std::convert::Infallible;

        fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error> {
            Ok(self
                .0
                .iter()
                .find(|((id, slot), _)| *id == object.0 && *slot == name)
                .map(|(_, v)| v.clone()))
        }
    }

    fn world(parents: &[(u64, &[u64])], data: &[(u64, &'static str, i64)]) -> World {
        let mut slots = HashMap::new();
        for (id, list) in parents {
            let list = list.iter().map(|p| Value::Ref(ObjectId(*p))).collect();
            slots.insert((*id, PARENTS), Value::List(list));
        }
        for (id, name, value) in data {
            slots.insert((*id, *name), Value::Int(*value));
        }
        World(slots)
    }

    fn check(world: &mut World, receiver: u64, selector: &str, expected: Option<(u64, i64)>) {
        let found = lookup(world, ObjectId(receiver), selector).unwrap();
        let expected = expected.map(|(h, v)| Found {
            holder: ObjectId(h),
            value: Value::Int(v),
        });
        assert_eq!(found, expected, "{selector} from #{receiver}");
    }

    #[test]
    fn own_slot_wins_then_parents_in_order_depth_first() {
        let mut w = world(
            &[(1, &[2, 3]), (2, &[4])],
            &[(1, "a", 1), (3, "b", 3), (4, "b", 4), (4, "a", 4)],
        );
        check(&mut w, 1, "a", Some((1, 1)));
        check(&mut w, 1, "b", Some((4, 4)));
        check(&mut w, 1, "c", None);
        assert_eq!(chain(&mut w, ObjectId(1)).unwrap(), [1, 2, 4, 3].map(ObjectId));
    }

    #[test]
    fn cycles_end() {
        let mut w = world(&[(1, &[2]), (2, &[1, 2, 3]), (3, &[1])], &[(3, "x", 9)]);
        check(&mut w, 1, "x", Some((3, 9)));
        check(&mut w, 1, "y", None);
    }
}
