//! Wishes: what a method is to do, in words and examples, in an object's slot `wishes` (docs/wishes.md).

use shared::activation::{Read, ReadSlot};
use shared::bridge::{Answer, Fault, WishText, WishView};
use shared::example::{Example, Expected, text_of};
use shared::id::{ObjectId, TransactionId};
use shared::object::is_slot_name;
use shared::reason;
use shared::value::Value;

use crate::image::draft::{Change, Draft};
use crate::kernel::{Asker, Kernel};
use crate::names::{name_of, resolve};
use crate::overlay::World;

/// The slot, a map from selectors.
pub const WISHES: &str = "wishes";

const MOST_INTENT_CHARS: usize = 400;
const MOST_EXAMPLES: usize = 16;
const MOST_EXAMPLE_BYTES: usize = 1_000;
/// A person's wish is written again when others wrote one meanwhile, so many times.
const REPLAYS: u32 = 8;

/// What is wanted of one method.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// One line.
    pub intent: Option<String>,
    pub examples: Vec<Example>,
}

impl Wish {
    /// Reads what a map of wishes has for a selector; the error says what is expected where.
    fn read(value: &Value) -> Result<Wish, String> {
        let pairs = match value {
            Value::Text(intent) => {
                return Wish::of(&WishText {
                    intent: Some(intent.clone()),
                    examples: Vec::new(),
                });
            }
            Value::Map(pairs) => pairs,
            other => {
                return Err(format!(
                    "it is a {}; a text, or a map with intent and examples, is expected",
                    other.kind()
                ));
            }
        };
        let mut text = WishText::default();
        for (key, value) in pairs {
            match (key.as_text(), value) {
                (Some("intent"), Value::None) => {}
                (Some("intent"), Value::Text(intent)) => text.intent = Some(intent.clone()),
                (Some("intent"), other) => {
                    return Err(format!("its intent is a {}; a text is expected", other.kind()));
                }
                (Some("examples"), Value::List(items)) => {
                    let items = items.iter().map(|item| item.as_text().map(str::to_owned));
                    text.examples = items
                        .collect::<Option<_>>()
                        .ok_or("its examples are not all texts")?;
                }
                (Some("examples"), other) => {
                    return Err(format!(
                        "its examples are a {}; a list of texts is expected",
                        other.kind()
                    ));
                }
                _ => {
                    let key = text_of(key);
                    return Err(format!("it has {key}; only intent and examples are expected"));
                }
            }
        }
        Wish::of(&text)
    }

    /// Reads what somebody wrote.
    fn of(text: &WishText) -> Result<Wish, String> {
        let intent = text.intent.as_ref().map(|intent| one_line(intent));
        let chars = intent.as_ref().map_or(0, |intent| intent.chars().count());
        if chars > MOST_INTENT_CHARS {
            return Err(format!(
                "its intent has {chars} characters; at most {MOST_INTENT_CHARS} are expected"
            ));
        }
        if text.examples.len() > MOST_EXAMPLES {
            return Err(format!(
                "it has {} examples; at most {MOST_EXAMPLES} are expected",
                text.examples.len()
            ));
        }
        let read = |(at, text): (usize, &String)| {
            example(text).map_err(|what| format!("example {}: {what}", at + 1))
        };
        Ok(Wish {
            intent: intent.filter(|intent| !intent.is_empty()),
            examples: text
                .examples
                .iter()
                .enumerate()
                .map(read)
                .collect::<Result<_, _>>()?,
        })
    }

    /// As the image keeps it, the examples in normal form.
    pub fn value(&self) -> Value {
        Value::record([
            ("intent", self.intent.clone().map_or(Value::None, Value::Text)),
            (
                "examples",
                Value::List(self.examples_as_texts().map(Value::Text).collect()),
            ),
        ])
    }

    fn examples_as_texts(&self) -> impl Iterator<Item = String> + '_ {
        self.examples.iter().map(Example::to_string)
    }
}

/// Refuses a value of the slot that is no map of wishes; says which, and what is expected.
pub fn check(wishes: &Value) -> Result<(), String> {
    let pairs = match wishes {
        Value::Map(pairs) => pairs,
        Value::None => return Ok(()),
        other => {
            return Err(format!(
                "the slot {WISHES} holds a {}; a map from selectors to wishes is expected",
                other.kind()
            ));
        }
    };
    pairs
        .iter()
        .try_for_each(|(selector, wish)| match selector.as_text() {
            Some(selector) if is_slot_name(selector) => match Wish::read(wish) {
                Ok(_) => Ok(()),
                Err(what) => Err(format!("the wish for {selector}: {what}")),
            },
            _ => Err(format!("{} is no selector", text_of(selector))),
        })
}

/// The wish that holds for a selector of an object, with what that depends on; the nearest object of its delegation chain that has one decides.
pub fn wish_for(
    world: World<'_>,
    receiver: ObjectId,
    selector: &str,
) -> (Result<Option<Wish>, String>, Vec<Read>) {
    let (held, reads) = world.held_along(receiver, WISHES);
    let found = held.iter().find_map(|(_, wishes)| wishes.member(selector));
    (found.map(Wish::read).transpose(), reads)
}

fn example(text: &str) -> Result<Example, String> {
    if text.len() > MOST_EXAMPLE_BYTES {
        return Err(format!(
            "it has {} bytes; at most {MOST_EXAMPLE_BYTES} are expected",
            text.len()
        ));
    }
    let example = Example::read(text).map_err(|error| error.to_string())?;
    let answer = match &example.expected {
        Expected::Answer(value) => Some(value),
        Expected::Any | Expected::Failure => None,
    };
    let helds = example.given.iter().chain(&example.after);
    let mut values = helds
        .map(|held| &held.value)
        .chain(&example.arguments)
        .chain(answer);
    match values.any(has_method) {
        true => Err("it holds a method; data is expected".into()),
        false => Ok(example),
    }
}

fn has_method(value: &Value) -> bool {
    match value {
        Value::Method(_) => true,
        Value::List(items) => items.iter().any(has_method),
        Value::Map(pairs) => pairs
            .iter()
            .any(|(key, item)| has_method(key) || has_method(item)),
        _ => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Kernel {
    /// Refuses changes after which a slot `wishes` is none, whoever writes.
    pub fn keep_wishes(&self, changes: &[Change]) -> Result<(), Fault> {
        let world = self.world();
        let judge = |object, slot: &str, value: &Value| {
            if slot != WISHES {
                return Ok(());
            }
            check(value).map_err(|what| {
                let place = format!("{}.{WISHES}", name_of(world, object));
                Fault::new(
                    reason::COVENANT_BROKEN,
                    format!("nothing was changed: {place}: {what}"),
                )
            })
        };
        changes.iter().try_for_each(|change| match change {
            Change::Put { object, slot, value } => judge(*object, slot, value),
            Change::Create { object, slots } => slots
                .iter()
                .try_for_each(|(slot, value)| judge(*object, slot, value)),
            _ => Ok(()),
        })
    }

    /// Writes a wish into an object's own slot, or takes it away.
    pub async fn wish(
        &self,
        asker: &Asker,
        object: &str,
        selector: String,
        text: Option<WishText>,
    ) -> Result<Answer, Fault> {
        let bad = |what: String| Fault::new(reason::BAD_ARGUMENT, what);
        if !is_slot_name(&selector) {
            return Err(bad(format!("{selector:?} is no selector")));
        }
        let wish = match text.as_ref().map(Wish::of).transpose() {
            Ok(Some(wish)) if wish == Wish::default() => {
                return Err(bad(format!(
                    "the wish for {selector} is empty; an intent or an example is expected"
                )));
            }
            Ok(wish) => wish,
            Err(what) => return Err(bad(format!("the wish for {selector}: {what}"))),
        };
        for _ in 1..REPLAYS {
            let draft = self.wished(asker, object, &selector, wish.as_ref())?;
            match self.commit_edit(asker, draft.0, draft.1).await {
                Err(fault) if fault.reason == reason::CONFLICT => {}
                done => return done,
            }
        }
        let draft = self.wished(asker, object, &selector, wish.as_ref())?;
        self.commit_edit(asker, draft.0, draft.1).await
    }

    fn wished(
        &self,
        asker: &Asker,
        object: &str,
        selector: &str,
        wish: Option<&Wish>,
    ) -> Result<(Draft, Answer), Fault> {
        let world = self.world();
        let id = resolve(world, object)?;
        let (image, _) = world
            .object(id)
            .ok_or_else(|| Fault::new(reason::NO_OBJECT, format!("{id} does not exist")))?;
        let slot = image.slot(WISHES);
        let mut pairs = match slot.map(|slot| &slot.value) {
            Some(Value::Map(pairs)) => pairs.clone(),
            _ => Vec::new(),
        };
        let known = pairs.iter().position(|(key, _)| key.as_text() == Some(selector));
        match (wish, known) {
            (Some(wish), Some(at)) => pairs[at].1 = wish.value(),
            (Some(wish), None) => pairs.push((Value::Text(selector.to_owned()), wish.value())),
            (None, Some(at)) => drop(pairs.remove(at)),
            (None, None) => return Err(self.nothing_wished(world, id, selector)),
        }
        let mut draft = Draft::new(asker.author.clone());
        draft.reads.push(Read {
            object: id,
            slot: ReadSlot::Named(WISHES.into(), slot.map(|slot| slot.changed)),
        });
        draft.changes.push(Change::Put {
            object: id,
            slot: WISHES.into(),
            value: Value::Map(pairs),
        });
        let answer = Answer::Changed {
            object: id,
            slot: WISHES.into(),
            transaction: TransactionId(0),
        };
        Ok((draft, answer))
    }

    /// Why nothing can be taken away: no such wish, or it is another object's.
    fn nothing_wished(&self, world: World<'_>, id: ObjectId, selector: &str) -> Fault {
        let name = name_of(world, id);
        let (held, _) = world.held_along(id, WISHES);
        let holder = held.iter().find(|(_, wishes)| wishes.member(selector).is_some());
        let what = match holder {
            Some((holder, _)) => format!(
                "{name} has no wish for {selector} of its own; it is {}'s",
                name_of(world, *holder)
            ),
            None => format!("{name} has no wish for {selector}; `batos wish {name}` lists them"),
        };
        Fault::new(reason::NO_SLOT, what)
    }

    /// The wishes that hold for an object, its own first; of one selector, or all.
    pub fn wishes(&self, object: &str, selector: Option<&str>) -> Result<Answer, Fault> {
        let world = self.world();
        let id = resolve(world, object)?;
        let mut views: Vec<WishView> = Vec::new();
        for (holder, wishes) in world.held_along(id, WISHES).0 {
            let Value::Map(pairs) = wishes else { continue };
            for (key, wish) in pairs {
                let Some(key) = key
                    .as_text()
                    .filter(|key| selector.is_none_or(|wanted| wanted == *key))
                else {
                    continue;
                };
                if views.iter().any(|view| view.selector == key) {
                    continue;
                }
                let wish = Wish::read(&wish).map_err(|what| {
                    let what = format!("the wish of {} for {key}: {what}", name_of(world, holder));
                    Fault::new(reason::BAD_ARGUMENT, what)
                })?;
                views.push(WishView {
                    selector: key.to_owned(),
                    holder,
                    name: name_of(world, holder),
                    wish: WishText {
                        examples: wish.examples_as_texts().collect(),
                        intent: wish.intent,
                    },
                });
            }
        }
        match (selector, views.is_empty()) {
            (Some(selector), true) => Err(self.nothing_wished(world, id, selector)),
            _ => Ok(Answer::Wishes(views)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        let pairs = pairs
            .iter()
            .map(|(key, value)| (Value::Text((*key).into()), value.clone()));
        Value::Map(pairs.collect())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn examples(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|one| text(one)).collect())
    }

    fn refused(wishes: &Value, expected: &str) {
        let told = check(wishes).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_is_no_wish_is_named() {
        let of = |wish: Value| map(&[("count", wish)]);
        let with = |texts: &[&str]| of(map(&[("examples", examples(texts))]));
        assert_eq!(check(&Value::None), Ok(()));
        assert_eq!(check(&of(text("Count them."))), Ok(()));
        assert_eq!(check(&with(&["() -> 1", "a=1 () -> !"])), Ok(()));
        refused(&Value::Int(3), "holds a int; a map from selectors");
        refused(&map(&[("no name", text("x"))]), "\"no name\" is no selector");
        refused(&of(Value::Int(1)), "the wish for count: it is a int");
        refused(&of(map(&[("words", text("x"))])), "only intent and examples");
        refused(&of(map(&[("intent", Value::Int(1))])), "its intent is a int");
        refused(&of(text(&"x".repeat(401))), "401 characters; at most 400");
        refused(
            &with(&["() -> 1", "() - 1"]),
            "example 2: at character 4 `->` is expected",
        );
        refused(&with(&["() -> 1"; 17]), "17 examples; at most 16");
        refused(
            &with(&[&format!("() -> {:?}", "x".repeat(1_000))]),
            "at most 1000 are expected",
        );
        refused(
            &with(&[r#"helper={"$method": "def helper(self):\n    pass\n"} () -> _"#]),
            "holds a method",
        );
    }

    #[test]
    fn a_wish_is_kept_in_normal_form() {
        let wish = Wish::read(&map(&[
            ("intent", text("  Count\n them. ")),
            ("examples", examples(&["()->[1,2]"])),
        ]));
        let kept = map(&[
            ("intent", text("Count them.")),
            ("examples", examples(&["() -> [1, 2]"])),
        ]);
        assert_eq!(wish.unwrap().value(), kept);
        assert_eq!(Wish::read(&text(" ")).unwrap().intent, None);
    }
}
