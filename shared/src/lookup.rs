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
    walk(receiver, |holder, parents| {
        answer = slots.slot(holder, selector)?.map(|value| Found { holder, value });
        if answer.is_none() {
            push_parents(slots.slot(holder, PARENTS)?.as_ref(), parents);
        }
        Ok(answer.is_some())
    })?;
    Ok(answer)
}

/// The receiver and everything it delegates to, in lookup order.
pub fn chain<S: Slots>(slots: &mut S, receiver: ObjectId) -> Result<Vec<ObjectId>, S::Error> {
    let mut order = Vec::new();
    walk(receiver, |holder, parents| {
        order.push(holder);
        push_parents(slots.slot(holder, PARENTS)?.as_ref(), parents);
        Ok(false)
    })?;
    Ok(order)
}

/// Visits the receiver and what it delegates to in lookup order, until `visit` answers true; otherwise it pushes the parents of
/// the object that it was given.
pub fn walk<E>(
    receiver: ObjectId,
    mut visit: impl FnMut(ObjectId, &mut Vec<ObjectId>) -> Result<bool, E>,
) -> Result<(), E> {
    let mut seen = Seen::default();
    let mut pending = vec![receiver];
    let mut parents = Vec::new();
    while let Some(object) = pending.pop() {
        if !seen.insert(object) {
            continue;
        }
        if visit(object, &mut parents)? {
            return Ok(());
        }
        pending.extend(parents.drain(..).rev());
    }
    Ok(())
}

/// Pushes the objects that a slot `parents` refers to, in its order.
pub fn push_parents(slot: Option<&Value>, parents: &mut Vec<ObjectId>) {
    if let Some(Value::List(items)) = slot {
        parents.extend(items.iter().filter_map(|item| match item {
            Value::Ref(id) => Some(*id),
            _ => None,
        }));
    }
}

/// A set that is cheap while it is small, as nearly every chain is.
#[derive(Default)]
struct Seen {
    few: Vec<ObjectId>,
    many: HashSet<ObjectId>,
}

impl Seen {
    /// False when it was there.
    fn insert(&mut self, id: ObjectId) -> bool {
        const FEW: usize = 16;
        if self.few.contains(&id) || (!self.many.is_empty() && self.many.contains(&id)) {
            return false;
        }
        match self.few.len() < FEW {
            true => self.few.push(id),
            false => drop(self.many.insert(id)),
        }
        true
    }
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
    fn long_chains_are_walked_once() {
        let ids: Vec<[u64; 2]> = (1..100).map(|id| [id + 1, 1]).collect();
        let parents: Vec<(u64, &[u64])> = (1..).zip(ids.iter().map(|list| &list[..])).collect();
        let mut w = world(&parents, &[(100, "x", 9)]);
        check(&mut w, 1, "x", Some((100, 9)));
        let whole: Vec<ObjectId> = (1..=100).map(ObjectId).collect();
        assert_eq!(chain(&mut w, ObjectId(1)).unwrap(), whole);
    }

    #[test]
    fn cycles_end() {
        let mut w = world(&[(1, &[2]), (2, &[1, 2, 3]), (3, &[1])], &[(3, "x", 9)]);
        check(&mut w, 1, "x", Some((3, 9)));
        check(&mut w, 1, "y", None);
    }
}
