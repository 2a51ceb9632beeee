//! Data covenants (M15): what a slot or an entry must look like, for a prototype and all that delegate to it, whoever writes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::bridge::{Fault, Unit};
use shared::id::{ObjectId, TransactionId};
use shared::json::to_json;
use shared::key::Key;
use shared::object::PARENTS;
use shared::reason;
use shared::value::Value;

use super::file::Covenant;
use super::image::covenants_in;
use crate::image::draft::Change;
use crate::image::overlay::Overlay;
use crate::kernel::{Kernel, commit_fault};
use crate::mind::genesis;
use crate::names::{name_of, resolve};
use crate::overlay::World;
use crate::reporter::Reporter;

/// So many breaches are named.
const NAMED: usize = 100;
/// So many words of a schema's complaint.
const COMPLAINT_CHARS: usize = 400;

/// The covenants of one state of the codex, ready to judge.
#[derive(Default)]
pub struct Compiled {
    slots: HashMap<String, Vec<Bound>>,
    entries: Vec<Bound>,
}

/// A covenant of one prototype.
struct Bound {
    prototype: ObjectId,
    name: String,
    validator: Arc<Validator>,
}

/// What would break a covenant.
pub struct Breach {
    place: String,
    covenant: String,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} breaks the covenant {:?}: {}",
            self.place, self.covenant, self.what
        )
    }
}

/// The newest that were compiled, and the transaction that put them.
#[derive(Default)]
pub struct Known(Mutex<Option<(TransactionId, Arc<Compiled>)>>);

impl Compiled {
    /// Compiles; the error names the covenant that is none.
    pub fn of(world: World<'_>, covenants: &[Covenant]) -> Result<Compiled, String> {
        let mut compiled = Compiled::default();
        for covenant in covenants {
            let wrong = |what: String| format!("the covenant {:?}: {what}", covenant.name);
            let schema: serde_json::Value = serde_json::from_str(&covenant.schema)
                .map_err(|error| wrong(format!("its schema is no JSON: {error}")))?;
            let validator = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&schema)
                .map_err(|error| wrong(format!("its schema is none of draft 2020-12: {error}")))?;
            let validator = Arc::new(validator);
            for bind in &covenant.binds {
                let (object, slot) = match bind.strip_suffix("[]") {
                    Some(object) => (object, None),
                    None => bind
                        .rsplit_once('.')
                        .map(|(object, slot)| (object, Some(slot)))
                        .ok_or_else(|| {
                            wrong(format!(
                                "{bind:?} binds nothing; write PROTOTYPE.SLOT or PROTOTYPE[]"
                            ))
                        })?,
                };
                let bound = Bound {
                    prototype: resolve(world, object).map_err(|fault| wrong(fault.message))?,
                    name: covenant.name.clone(),
                    validator: validator.clone(),
                };
                match slot {
                    Some(slot) => compiled.slots.entry(slot.to_owned()).or_default().push(bound),
                    None => compiled.entries.push(bound),
                }
            }
        }
        Ok(compiled)
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.entries.is_empty()
    }

    /// True for a change that some covenant may have to do with.
    fn concerns(&self, change: &Change) -> bool {
        match change {
            Change::Create { .. } => true,
            Change::Put { slot, .. } => slot == PARENTS || self.slots.contains_key(slot),
            Change::PutEntry { .. } | Change::AddEntry { .. } | Change::Append { .. } => {
                !self.entries.is_empty()
            }
            Change::Remove { .. } | Change::RemoveEntry { .. } | Change::Vector { .. } => false,
        }
    }

    /// Judges an object's slots, those named or all, and its entries if wanted.
    fn judge(
        &self,
        world: World<'_>,
        id: ObjectId,
        slots: Option<&BTreeSet<&str>>,
        keys: Keys<'_>,
        breaches: &mut Vec<Breach>,
    ) {
        let Some((object, _)) = world.object(id) else {
            return;
        };
        let chain = world.look_up(id, PARENTS).chain;
        let is_kin = |bound: &Bound| bound.prototype == id || chain.contains(&bound.prototype);
        let name = || name_of(world, id);
        for slot in &object.slots {
            let is_wanted = slots.is_none_or(|slots| slots.contains(slot.name.as_str()));
            for bound in self.slots.get(&slot.name).into_iter().flatten() {
                if is_wanted && is_kin(bound) {
                    bound.check(&slot.value, || format!("{}.{}", name(), slot.name), breaches);
                }
            }
        }
        for bound in self.entries.iter().filter(|bound| is_kin(bound)) {
            let mut unused = Vec::new();
            let found = match keys {
                Keys::None => Vec::new(),
                Keys::All => {
                    world
                        .scan(
                            id,
                            Key::first(),
                            Key::last(),
                            usize::MAX,
                            ScanOrder::Ascending,
                            &mut unused,
                        )
                        .0
                }
                Keys::These(keys) => keys
                    .iter()
                    .filter_map(|key| Some(((*key).clone(), world.entry(id, key, &mut unused)?)))
                    .collect(),
            };
            for (key, value) in found {
                bound.check(&value, || format!("{}[{key:?}]", name()), breaches);
            }
        }
    }

    /// What breaks them in a whole image, whose ids are below a bound.
    pub fn broken_now(&self, world: World<'_>, next_object: u64, reporter: &Reporter) -> Vec<Breach> {
        let mut breaches = Vec::new();
        if !self.is_empty() {
            reporter.begin("judging present data", Unit::Objects, Some(next_object));
            for id in 1..next_object {
                reporter.reach(id);
                self.judge(world, ObjectId(id), None, Keys::All, &mut breaches);
                if breaches.len() >= NAMED {
                    break;
                }
            }
        }
        breaches
    }
}

/// The value that a change gives the covenants themselves.
fn of_the_covenants(change: &Change) -> Option<&Value> {
    match change {
        Change::Put { object, slot, value } if *object == genesis::ALFRED && slot == "covenants" => {
            Some(value)
        }
        _ => None,
    }
}

/// Which entries are judged.
#[derive(Clone, Copy)]
enum Keys<'a> {
    None,
    All,
    These(&'a BTreeSet<&'a Key>),
}

impl Bound {
    fn check(&self, value: &Value, place: impl FnOnce() -> String, breaches: &mut Vec<Breach>) {
        // A method in a slot is behaviour, not data.
        if matches!(value, Value::Method(_)) {
            return;
        }
        let json = to_json(value);
        if let Err(error) = self.validator.validate(&json) {
            let at = error.instance_path().to_string();
            let mut what: String = error.to_string().chars().take(COMPLAINT_CHARS).collect();
            if !at.is_empty() {
                what.push_str(&format!(" (at {at})"));
            }
            breaches.push(Breach {
                place: place(),
                covenant: self.name.clone(),
                what,
            });
        }
    }
}

impl Kernel {
    /// Refuses changes that would break a covenant. The reads are what the verdict depends on.
    pub fn keep_covenants(&self, overlay: Option<&Overlay>, changes: &[Change]) -> Result<Vec<Read>, Fault> {
        self.keep_wishes(changes)?;
        if let Some(put) = changes.iter().rev().find_map(of_the_covenants) {
            return self.covenants_fit(put).map(|()| Vec::new());
        }
        let Some((read, compiled)) = self.covenants()? else {
            return Ok(Vec::new());
        };
        if !changes.iter().any(|change| compiled.concerns(change)) {
            return Ok(Vec::new());
        }
        let state = &self.image.state;
        let mut after = overlay.cloned().unwrap_or_default();
        after.apply(state, changes.to_vec()).map_err(commit_fault)?;
        let world = World::over(state, &after);
        let mut breaches = Vec::new();
        let objects: BTreeSet<ObjectId> = changes.iter().map(Change::object).collect();
        for id in objects {
            let own = || changes.iter().filter(|change| change.object() == id);
            let is_whole = own().any(|change| {
                matches!(change, Change::Create { .. })
                    || matches!(change, Change::Put { slot, .. } if slot == PARENTS)
            });
            if is_whole {
                compiled.judge(world, id, None, Keys::All, &mut breaches);
                continue;
            }
            let slots: BTreeSet<&str> = own()
                .filter_map(|change| match change {
                    Change::Put { slot, .. } => Some(slot.as_str()),
                    _ => None,
                })
                .collect();
            let keys: BTreeSet<&Key> = own()
                .filter_map(|change| match change {
                    Change::PutEntry { key, .. } | Change::AddEntry { key, .. } => Some(key),
                    _ => None,
                })
                .collect();
            // What is appended gets its key by the commit.
            let keys = match own().any(|change| matches!(change, Change::Append { .. })) {
                true => Keys::All,
                false if keys.is_empty() => Keys::None,
                false => Keys::These(&keys),
            };
            compiled.judge(world, id, Some(&slots), keys, &mut breaches);
        }
        match breaches.first() {
            None => Ok(vec![read]),
            Some(first) => {
                let more = match breaches.len() {
                    1 => String::new(),
                    count => format!("; and {} more", count - 1),
                };
                Err(Fault::new(
                    reason::COVENANT_BROKEN,
                    format!("nothing was changed: {first}{more}"),
                ))
            }
        }
    }

    /// Whether what is to be put as the covenants are some, and present data keep them.
    fn covenants_fit(&self, put: &Value) -> Result<(), Fault> {
        let world = self.world();
        let compiled = covenants_in(Some(put))
            .and_then(|covenants| Compiled::of(world, &covenants))
            .map_err(|what| Fault::new(reason::BAD_ARGUMENT, what))?;
        let silent = Reporter::silent();
        match compiled
            .broken_now(world, self.image.state.next_object(), &silent)
            .first()
        {
            None => Ok(()),
            Some(first) => Err(Fault::new(
                reason::COVENANT_BROKEN,
                format!("values of the image would break these covenants; the first: {first}"),
            )),
        }
    }

    /// The covenants of now, and the read of their slot; `None` when there are none.
    fn covenants(&self) -> Result<Option<(Read, Arc<Compiled>)>, Fault> {
        let state = &self.image.state;
        let alfred = genesis::ALFRED;
        let Some(object) = state.object(alfred) else {
            return Ok(None);
        };
        let Some(slot) = object.slot("covenants") else {
            return Ok(None);
        };
        if matches!(&slot.value, Value::List(items) if items.is_empty()) {
            return Ok(None);
        }
        let read = Read {
            object: alfred,
            slot: ReadSlot::Named("covenants".into(), Some(slot.changed)),
        };
        let mut known = self
            .known_covenants
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((changed, compiled)) = known.as_ref()
            && *changed == slot.changed
        {
            return Ok(Some((read, compiled.clone())));
        }
        // A genesis or a release may bring what are none: nothing is written until that is mended, but the slot itself.
        let compiled = covenants_in(Some(&slot.value))
            .and_then(|covenants| Compiled::of(World::of(state), &covenants))
            .map_err(|what| {
                Fault::new(
                    reason::COVENANT_BROKEN,
                    format!("the covenants of the image cannot be kept: {what}; mend #{0}.covenants, or `batos codex import`", alfred.0),
                )
            })?;
        let compiled = Arc::new(compiled);
        *known = Some((slot.changed, compiled.clone()));
        Ok(Some((read, compiled)))
    }
}
