//! Several answers to a wish: which of them is installed, and when none is (docs/wishes.md).

use std::collections::HashSet;

use serde_json::json;

use crate::harness::text;
use crate::scripted::Act;
use crate::wishes::{able, candidates, details, digest, object};

/// A sum for a count: guard and trial let it pass, the example does not; of the next round's candidates one is right.
#[test]
fn a_candidate_that_passes_is_installed() {
    let method = |body: &str| Act::Say(format!("def count_rows(self):\n    {body}\n"));
    let scripted = able(move |asked| match asked.seed {
        // The first round, and what is written again and again later.
        1 | 2000 | 2003 => method("return sum(self.rows)"),
        2001 => method("return ().__class__"),
        2002 => method("return len(self.rows) + 1"),
        2004 | 2005 => method("return len(self.rows)"),
        _ => method("return 2"),
    });
    let system = &scripted.system;
    candidates(system, 1, 8);
    let list = object(system, &["rows=[3,4]", "other=5"]);
    system.ok(&[
        "wish",
        &list,
        "count_rows",
        "Answer how many there are.",
        "--example",
        "rows=[3,4,5] () -> 3",
        "--example",
        "rows=[] () -> 0",
    ]);
    let sent = system.ok(&["send", &list, "count_rows"]);
    assert_eq!(sent["result"], 2);
    let told = system.ok(&["thoughts", &sent["thought"].to_string()])["thoughts"][0].clone();
    assert_eq!((&told["rounds"], &told["model_calls"]), (&json!(2), &json!(9)));
    let said: Vec<String> = details(system, &sent["thought"])
        .into_iter()
        .filter(|told| told != "guard: nothing to object to")
        .collect();
    assert_eq!(
        said.iter()
            .map(|told| told.split(": ").nth(1).unwrap())
            .collect::<Vec<_>>(),
        [
            "example 1",
            "line 2",
            "example 1",
            "0 writes, 2 examples met",
            "example 1",
            "2 of 9 answers do the same"
        ],
        "{said:?}: what failed before and what was said twice is tried once"
    );
    assert!(said[0].ends_with("answers 12, not 3"), "{said:?}");
    let asked = scripted.asked();
    assert_eq!((asked[0].temperature, asked.len()), (0.0, 9));
    let seeds: HashSet<u64> = asked[1..].iter().map(|ask| ask.seed).collect();
    assert_eq!(seeds.len(), 8);
    assert!(asked[0].prompt.ends_with(
        "<|message|>count_rows()\n<|wish|>Answer how many there are.\n<|example|>rows=[3, 4, 5] () -> 3\n<|example|>rows=[] () -> 0\n<|method|>"
    ), "{}", asked[0].prompt);
    assert!(
        asked[0].prompt.contains("<|slots|>rows:list[int] other:int\n"),
        "{}",
        asked[0].prompt
    );
    for ask in &asked[1..] {
        // One in seven corrects the attempt; by turns the others get the words alone and all that the wish tells, with the slots in another order.
        let way = ask.seed % 1000 % 7;
        let end = match way {
            0 => {
                "<|example|>rows=[] () -> 0\n<|flaw|>example 1: answers 12, not 3\n<|attempt|>def count_rows(self):\n    return sum(self.rows)\n<|method|>"
            }
            1 | 3 | 5 => "<|message|>count_rows()\n<|wish|>Answer how many there are.\n<|method|>",
            _ => "<|example|>rows=[3, 4, 5] () -> 3\n<|example|>rows=[] () -> 0\n<|method|>",
        };
        assert!(ask.prompt.ends_with(end), "{}", ask.prompt);
        let slots = match way {
            5 | 6 => "<|slots|>other:int rows:list[int]\n",
            _ => "<|slots|>rows:list[int] other:int\n",
        };
        assert!(ask.prompt.contains(slots), "{way}: {}", ask.prompt);
        // Two slots have one other order, which belongs to the first round, so only the correction is a new question.
        let is_greedy = ask.temperature == 0.0;
        assert_eq!(is_greedy, ask.seed % 1000 == 0, "{}", ask.seed);
    }
    let source = system.ok(&["why", &list, "count_rows"])["source"].clone();
    assert!(text(&source).contains("return len(self.rows)\n"), "{source}");
    // The stream tells it, too.
    let stream = std::fs::read_to_string(system.home().join("audit/thoughts.jsonl")).unwrap();
    assert!(stream.contains("trial: example 1: answers 12, not 3"), "{stream}");
}

/// One example leaves room: candidates that do the same where it does not look are one answer, and the one with most votes is installed.
#[test]
fn what_most_candidates_agree_in_is_installed() {
    let method = |body: &str| Act::Say(format!("def take_out(self, a):\n    {body}\n"));
    let change = "self.coins = self.coins - a\n    self._p_changed = True";
    let scripted = able(move |asked| match asked.seed % 1000 {
        // It looks best, and nobody else says so: 3 of 8.
        0..=2 => method(change),
        // The same in two ways: 4 of 8.
        3 | 4 => method(&format!(
            "if a > self.coins:\n        raise ValueError(\"no\")\n    {change}"
        )),
        5 | 6 => method(&format!(
            "if self.coins < a:\n        raise ValueError(\"not enough\")\n    {change}"
        )),
        _ => Act::Say("<|refuse|>no slot fits take_out".into()),
    });
    let system = &scripted.system;
    candidates(system, 8, 8);
    let purse = object(system, &["coins=10"]);
    system.ok(&["wish", &purse, "take_out", "--example", "(4) -> _; coins=6"]);
    let sent = system.ok(&["send", &purse, "take_out", "1"]);
    assert_eq!(scripted.asked().len(), 8);
    let asked = scripted.asked();
    let greedy = asked.iter().filter(|ask| ask.temperature == 0.0);
    assert_eq!(greedy.map(|ask| ask.seed).collect::<Vec<_>>(), [1000]);
    assert_eq!(system.inspect(&purse)["slots"]["coins"]["value"], 9);
    let said = details(system, &sent["thought"]);
    let trials = said.iter().filter(|told| told.starts_with("trial"));
    assert_eq!(trials.count(), 3, "equal texts are tried once: {said:?}");
    assert_eq!(said.last().unwrap(), "agreement: 4 of 8 answers do the same");
    system.refused(&["send", &purse, "take_out", "10"], "method_raised");

    // Four of eight are not enough for who wants more, and neither are eight of sixteen.
    system.ok(&["set", "orchestrator", "least_agreement", "0.6"]);
    system.ok(&["set", "orchestrator", "corrections", "1"]);
    let other = object(system, &["coins=10"]);
    system.ok(&["wish", &other, "take_out", "--example", "(4) -> _; coins=6"]);
    let before = digest(system);
    let fault = system.refused(&["send", &other, "take_out", "1"], "not_understood");
    assert!(
        text(&fault["message"]).contains("only 8 of 16 answers of the model agree"),
        "{fault}"
    );
    assert_eq!(digest(system), before);
}

/// The same answer to the same question is no second vote: what is asked greedily is asked once in a mission.
#[test]
fn no_question_is_asked_greedily_twice() {
    let scripted = able(move |asked| match asked.seed {
        // As a model does that says something that passes to the words alone, with the slots in their own order.
        1001 => Act::Say("def heaviest(self):\n    return max(self.weights)\n".into()),
        seed => Act::Say(format!("def heaviest(self):\n    return {seed}\n")),
    });
    let system = &scripted.system;
    candidates(system, 8, 8);
    system.ok(&["set", "orchestrator", "least_votes", "2"]);
    for slots in [
        &["weights=[3,4]"][..],
        &["weights=[3,4]", "b=1"],
        &["weights=[3,4]", "b=1", "c=2", "d=3"],
    ] {
        let scale = object(system, slots);
        system.ok(&[
            "wish",
            &scale,
            "heaviest",
            "Answer it.",
            "--example",
            "weights=[1,9,2] () -> 9",
        ]);
        let before = scripted.asked().len();
        let fault = system.refused(&["send", &scale, "heaviest"], "not_understood");
        assert!(
            text(&fault["message"]).contains("only 1 of 56 answers of the model agree"),
            "{fault}"
        );
        let asked = &scripted.asked()[before..];
        assert_eq!(asked.len(), 7 * 8);
        let greedy: Vec<&str> = asked
            .iter()
            .filter(|ask| ask.temperature == 0.0)
            .map(|ask| ask.prompt.as_str())
            .collect();
        let different: HashSet<&str> = greedy.iter().copied().collect();
        assert_eq!(greedy.len(), different.len(), "{slots:?}");
        assert!(greedy.len() >= 2, "{slots:?}");
    }
}

/// What passes alone is not sure enough; when a later round says it again, it is.
#[test]
fn votes_of_all_rounds_count() {
    let method = |body: &str| Act::Say(format!("def take_out(self, a):\n    {body}\n"));
    let change = "self.coins = self.coins - a\n    self._p_changed = True";
    let scripted = able(move |asked| match asked.seed {
        // One of the first eight passes; two rounds later one of another text does the same.
        1003 => method(change),
        3005 => method(&format!("if not a:\n        return None\n    {change}")),
        seed => method(&format!("return {seed}")),
    });
    let system = &scripted.system;
    candidates(system, 8, 8);
    system.ok(&["set", "orchestrator", "least_votes", "2"]);
    let purse = object(system, &["coins=10"]);
    system.ok(&[
        "wish",
        &purse,
        "take_out",
        "Take so many out.",
        "--example",
        "(4) -> _; coins=6",
    ]);
    let sent = system.ok(&["send", &purse, "take_out", "1"]);
    assert_eq!(system.inspect(&purse)["slots"]["coins"]["value"], 9);
    let said = details(system, &sent["thought"]);
    assert_eq!(said.last().unwrap(), "agreement: 2 of 24 answers do the same");
    assert_eq!(scripted.asked().len(), 24);
    // Who is content with one vote has it at once.
    system.ok(&["set", "orchestrator", "least_votes", "1"]);
    let other = object(system, &["coins=10"]);
    system.ok(&[
        "wish",
        &other,
        "take_out",
        "Take so many out.",
        "--example",
        "(4) -> _; coins=6",
    ]);
    system.ok(&["send", &other, "take_out", "1"]);
    assert_eq!(scripted.asked().len(), 32);
}

/// Who refuses more often than it agrees is believed.
#[test]
fn more_refusals_than_votes_are_a_refusal() {
    let scripted = able(move |asked| match asked.seed % 1000 {
        0..=2 => Act::Say("def guess(self):\n    return 4\n".into()),
        _ => Act::Say("<|refuse|>no slot fits guess".into()),
    });
    let system = &scripted.system;
    candidates(system, 8, 8);
    let gate = object(system, &["tally=4"]);
    system.ok(&["wish", &gate, "guess", "--example", "() -> 4"]);
    let before = digest(system);
    let fault = system.refused(&["send", &gate, "guess"], "not_understood");
    assert!(
        text(&fault["message"]).contains("the model refused in 5 of 8 answers"),
        "{fault}"
    );
    assert_eq!((scripted.asked().len(), digest(system)), (8, before));
}

/// Which slot is meant must not be decided by the place where it stands.
#[test]
fn what_the_order_of_slots_decides_is_refused() {
    // It raises the slot that it is shown first.
    let scripted = able(|asked| {
        let (_, shown) = asked.prompt.split_once("<|slots|>").unwrap();
        let first = shown.split(':').next().unwrap();
        let raise = format!("self.{first} = self.{first} + 1\n    self._p_changed = True");
        Act::Say(match asked.prompt.contains("<|message|>raise_it") {
            true => format!("def raise_it(self):\n    {raise}\n"),
            false => format!("def describe(self):\n    return self.{first}\n"),
        })
    });
    let system = &scripted.system;
    let desk = object(system, &["bass=4", "treble=6"]);
    let before = digest(system);
    let fault = system.refused(&["send", &desk, "raise_it"], "not_understood");
    let told = "it takes bass, and with the slots in another order it takes treble";
    assert!(text(&fault["message"]).contains(told), "{fault}");
    let asked = scripted.asked();
    assert_eq!((asked.len(), digest(system)), (2, before));
    assert!(asked.iter().all(|ask| ask.temperature == 0.0), "{asked:?}");
    // Nobody said what a description tells of.
    assert_eq!(system.ok(&["send", &desk, "describe"])["result"], 4);
    // Such words decide nothing either; an example does.
    system.ok(&["wish", &desk, "raise_it", "Raise it."]);
    system.refused(&["send", &desk, "raise_it"], "not_understood");
    system.ok(&[
        "wish",
        &desk,
        "raise_it",
        "Raise it.",
        "--example",
        "() -> _; bass=5",
    ]);
    system.ok(&["send", &desk, "raise_it"]);
    assert_eq!(system.inspect(&desk)["slots"]["bass"]["value"], 5);
    // One slot stands in one order, and whoever wants a guess gets it.
    let plain = object(system, &["bass=4"]);
    let before = scripted.asked().len();
    system.ok(&["send", &plain, "raise_it"]);
    assert_eq!(scripted.asked().len(), before + 1);
    system.ok(&["set", "covenant", "blind_orders", "0"]);
    let guessed = object(system, &["treble=6", "bass=4"]);
    system.ok(&["send", &guessed, "raise_it"]);
    assert_eq!(scripted.asked().len(), before + 2);
}
