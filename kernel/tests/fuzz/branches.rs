//! Operations on branches, and the plain model of one.

use std::collections::BTreeSet;

use kernel::image::Image;
use kernel::image::branch::Branch;
use kernel::image::branch::BranchError;
use kernel::image::branch::view::View;
use kernel::image::draft::{Change, CommitError, Draft};
use shared::activation::{Read, ReadSlot};
use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};
use shared::value::Value;

use kernel::image::record::RequestId;

use crate::model::{Model, PlainKey, World, transaction};
use crate::program::{Run, compare, told};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// What a branch should hold.
#[derive(Clone, Debug, Default)]
pub struct PlainBranch {
    /// Everything that was done in it.
    changes: Vec<Change>,
    /// The same without values that the next change of their place has replaced: what a pack keeps.
    kept: Vec<Change>,
    /// What of the image was read or replaced, and its last change then.
    seen: Vec<(u64, Place, Option<u64>)>,
    sends: u64,
}

/// A slot or an entry.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Slot(String),
    Entry(PlainKey),
}

fn place(change: &Change) -> Option<(u64, Place)> {
    let place = match change {
        Change::Put { slot, .. } | Change::Remove { slot, .. } => Place::Slot(slot.clone()),
        Change::PutEntry { key, .. } | Change::RemoveEntry { key, .. } | Change::AddEntry { key, .. } => {
            Place::Entry(PlainKey::of(key))
        }
        Change::Create { .. } | Change::Append { .. } | Change::Vector { .. } => return None,
    };
    Some((change.object().0, place))
}

fn changed(world: &World, object: u64, place: &Place) -> Option<u64> {
    let object = world.get(&object)?;
    match place {
        Place::Slot(name) => object.slot(name).map(|put| put.changed),
        Place::Entry(key) => object.entries.get(key).map(|put| put.changed),
    }
}

impl PlainBranch {
    fn made(&self, object: u64) -> bool {
        let is_made =
            |change: &Change| matches!(change, Change::Create { object: made, .. } if made.0 == object);
        self.changes.iter().any(is_made)
    }

    /// True where the branch itself says what is there.
    fn owns(&self, object: u64, wanted: &Place) -> bool {
        let is_own = |change: &Change| {
            !matches!(change, Change::AddEntry { .. })
                && place(change).is_some_and(|(changed, place)| changed == object && place == *wanted)
        };
        self.made(object) || self.changes.iter().any(is_own)
    }

    fn see(&mut self, now: &World, object: u64, place: Place) {
        if !self.owns(object, &place) {
            let changed = changed(now, object, &place);
            self.seen.push((object, place, changed));
        }
    }

    fn add(&mut self, now: &World, reads: &[u64], changes: &[Change]) {
        for object in reads {
            self.see(now, *object, Place::Slot("a".into()));
        }
        for change in changes {
            if let (Some((object, place)), false) = (place(change), matches!(change, Change::AddEntry { .. }))
            {
                let makes = |change: &Change| matches!(change, Change::Create { object: made, .. } if made.0 == object);
                // What is made by the same changes replaces nothing either way: it was not there.
                if !changes.iter().any(makes) {
                    self.see(now, object, place);
                }
            }
        }
        for change in changes {
            self.changes.push(change.clone());
            let at = place(change);
            let before = self
                .kept
                .iter_mut()
                .rfind(|known| at.is_some() && place(known) == at);
            match (before, change) {
                (Some(known @ Change::Put { .. }), Change::Put { .. })
                | (Some(known @ Change::PutEntry { .. }), Change::PutEntry { .. }) => *known = change.clone(),
                _ => self.kept.push(change.clone()),
            }
        }
        self.sends += 1;
    }

    fn is_in_conflict(&self, now: &World) -> bool {
        let differs =
            |(object, place, seen): &(u64, Place, Option<u64>)| changed(now, *object, place) != *seen;
        self.seen.iter().any(differs)
    }

    /// What a pack keeps for it.
    pub fn roots(&self) -> BTreeSet<u64> {
        let mut roots: BTreeSet<u64> = self.seen.iter().map(|(object, ..)| *object).collect();
        for change in &self.kept {
            roots.insert(change.object().0);
            let mut visit = |value: &Value| {
                value.each_reference(&mut |id| {
                    roots.insert(id.0);
                });
            };
            match change {
                Change::Create { slots, .. } => slots.iter().for_each(|(_, value)| visit(value)),
                Change::Put { value, .. } | Change::PutEntry { value, .. } | Change::Append { value, .. } => {
                    visit(value);
                }
                Change::Remove { .. }
                | Change::RemoveEntry { .. }
                | Change::AddEntry { .. }
                | Change::Vector { .. } => {}
            }
        }
        roots
    }
}

impl Run<'_> {
    pub fn branch(&mut self, operation: u8) -> Result<&'static str, String> {
        let name = NAMES[self.input.below(NAMES.len())];
        match operation {
            24 => self.begin(name),
            25..=27 => self.change_branch(name),
            28 => self.look(name),
            29 => self.commit_branch(name),
            _ => match self.input.below(2) {
                0 => self.cut_off(name),
                _ => self.drop_branch(name),
            },
        }
    }

    fn begin(&mut self, name: &str) -> Result<&'static str, String> {
        let begun = self.image().branches.begin(name, "fuzz", None);
        match (begun, self.model.branches.contains_key(name)) {
            (Ok(_), false) => {
                self.model
                    .branches
                    .insert(name.to_owned(), PlainBranch::default());
                Ok("begun")
            }
            (Err(BranchError::Exists(_)), true) => Ok("exists"),
            (begun, is_there) => Err(format!(
                "the branch {name} is there: {is_there}; begun: {:?}",
                begun.map(|_| ())
            )),
        }
    }

    /// The branch of both, or `None` where neither has it.
    fn found(&self, name: &str) -> Result<Option<(std::sync::Arc<Branch>, PlainBranch)>, String> {
        match (self.image().branches.find(name), self.model.branches.get(name)) {
            (Ok(branch), Some(plain)) => Ok(Some((branch, plain.clone()))),
            (Err(BranchError::None(_)), None) => Ok(None),
            (found, plain) => Err(format!(
                "branch {name}: {:?}, expected {:?}",
                found.map(|_| ()),
                plain.is_some()
            )),
        }
    }

    /// What a send or an edit does: some reads, some changes, in front of the newest state.
    fn change_branch(&mut self, name: &str) -> Result<&'static str, String> {
        let mut changes: Vec<Change> = (0..=self.input.below(3)).map(|_| self.change()).collect();
        if self.input.below(4) == 0 {
            let object = self.image().state.allocate();
            self.ids.push(object.0);
            changes.insert(
                0,
                Change::Create {
                    object,
                    slots: vec![("made".into(), Value::Int(object.0 as i64))],
                },
            );
            changes.push(Change::Put {
                object: self.object(),
                slot: "child".into(),
                value: Value::Ref(object),
            });
        }
        let read = match self.input.below(3) {
            0 => Some(self.object().0),
            _ => None,
        };
        let Some((branch, mut plain)) = self.found(name)? else {
            return Ok("no branch");
        };
        let read = read.filter(|object| {
            self.model.now().contains_key(object) && !plain.owns(*object, &Place::Slot("a".into()))
        });
        let reads = read.map(|object| Read {
            object: ObjectId(object),
            slot: ReadSlot::Named(
                "a".into(),
                changed(self.model.now(), object, &Place::Slot("a".into())).map(transaction),
            ),
        });
        let mut view = View::default();
        let fits = self.model.apply(&plain.changes).is_some();
        match (view.refresh(&self.image().state, &branch), fits) {
            (Ok(()), true) => {}
            (Err(_), false) => return Ok("misfit"),
            (refreshed, _) => return Err(format!("branch {name}: {refreshed:?}, expected {fits}")),
        }
        let mut both = plain.changes.clone();
        both.extend(changes.iter().cloned());
        let expected = self.model.apply(&both).is_some();
        let done = self.image().branches.change(
            &branch,
            &mut view,
            "fuzz",
            reads.into_iter().collect(),
            changes.clone(),
            None,
        );
        match (done, expected) {
            (Ok(()), true) => {
                plain.add(self.model.now(), read.as_slice(), &changes);
                self.model.branches.insert(name.to_owned(), plain);
                Ok("changed")
            }
            (Err(BranchError::Refused(_)), false) => Ok("refused"),
            (done, _) => Err(format!(
                "in branch {name} {changes:?}: {done:?}, expected to be {}",
                if expected { "done" } else { "refused" }
            )),
        }
    }

    fn look(&mut self, name: &str) -> Result<&'static str, String> {
        let Some((_, plain)) = self.found(name)? else {
            return Ok("no branch");
        };
        compare_branch(self.image(), &self.model, name, &plain)
    }

    fn request(&self, branch: &Branch) -> RequestId {
        RequestId {
            client: ClientId(branch.header.id),
            sequence: 1,
        }
    }

    /// What its commit would write.
    fn committing(&self, name: &str, branch: &Branch) -> Result<Draft, String> {
        let answer = |sends, objects| Answer::BranchCommitted {
            name: name.to_owned(),
            sends,
            objects,
            transaction: TransactionId(0),
        };
        let request = Some(self.request(branch));
        self.image()
            .branches
            .committing(branch, "fuzz".into(), request, answer)
            .map_err(told)
    }

    fn commit_branch(&mut self, name: &str) -> Result<&'static str, String> {
        let Some((branch, plain)) = self.found(name)? else {
            return Ok("no branch");
        };
        let conflicts = branch.conflicts(&self.image().state);
        if conflicts.is_empty() == plain.is_in_conflict(self.model.now()) {
            return Err(format!(
                "branch {name}: conflicts {conflicts:?}, expected {:?}",
                plain.seen
            ));
        }
        let expected = self.model.apply(&plain.changes);
        let draft = self.committing(name, &branch)?;
        let sends = branch.counts().0;
        if sends != plain.sends {
            return Err(format!("branch {name}: {sends} sends, expected {}", plain.sends));
        }
        let committed = self.image().committer.commit_blocking(draft);
        match (committed, conflicts.is_empty(), expected) {
            (Ok(_), true, Some((world, changed))) => {
                self.image().branches.drop(name).map_err(told)?;
                self.model.branches.remove(name);
                self.model.commit(world, changed);
                Ok("branch committed")
            }
            (Err(CommitError::Conflict(_)), false, _) => {
                self.image().branches.keep(&branch).map_err(told)?;
                Ok("branch conflict")
            }
            (Err(CommitError::Refused(_) | CommitError::Unmergeable(_)), true, None) => {
                self.image().branches.keep(&branch).map_err(told)?;
                Ok("branch refused")
            }
            (committed, is_free, expected) => Err(format!(
                "branch {name}: {committed:?}, free of conflict {is_free}, fits {}",
                expected.is_some()
            )),
        }
    }

    /// The kernel ends between a commit's intent and its transaction, or between that and the file's removal.
    fn cut_off(&mut self, name: &str) -> Result<&'static str, String> {
        let is_committed = self.input.below(2) == 0;
        let Some((branch, plain)) = self.found(name)? else {
            return Ok("no branch");
        };
        let draft = self.committing(name, &branch)?;
        let mut how = "cut off before";
        if is_committed && self.image().committer.commit_blocking(draft).is_ok() {
            let (world, changed) = self.model.apply(&plain.changes).ok_or("it should not fit")?;
            self.model.branches.remove(name);
            self.model.commit(world, changed);
            how = "cut off after";
        }
        drop(branch);
        self.image = None;
        self.open(how)
    }

    fn drop_branch(&mut self, name: &str) -> Result<&'static str, String> {
        match self.found(name)? {
            None => Ok("no branch"),
            Some(_) => {
                self.image().branches.drop(name).map_err(told)?;
                self.model.branches.remove(name);
                Ok("dropped")
            }
        }
    }
}

/// Every branch of an image, each in front of its state.
pub fn compare_branches(image: &Image, model: &Model) -> Result<(), String> {
    let names: Vec<String> = image.branches.list().into_iter().map(|(name, _)| name).collect();
    let expected: Vec<String> = model.branches.keys().cloned().collect();
    if names != expected {
        return Err(format!("branches {names:?}, expected {expected:?}"));
    }
    for (name, plain) in &model.branches {
        compare_branch(image, model, name, plain)?;
    }
    Ok(())
}

fn compare_branch(
    image: &Image,
    model: &Model,
    name: &str,
    plain: &PlainBranch,
) -> Result<&'static str, String> {
    let branch = image.branches.find(name).map_err(told)?;
    let mut view = View::default();
    let refreshed = view.refresh(&image.state, &branch);
    match (refreshed, model.apply(&plain.changes)) {
        (Ok(()), Some((world, _))) => compare(image, Some(view.overlay()), &world)
            .map(|()| "seen")
            .map_err(|what| format!("in branch {name}: {what}")),
        (Err(_), None) => Ok("misfit"),
        (refreshed, expected) => Err(format!(
            "branch {name}: {refreshed:?}, expected to fit: {}",
            expected.is_some()
        )),
    }
}
