//! What `traits` gives to every object: the real faces of `kernel/genesis/traits.py` on the real primitives.

use shared::activation::{Finished, Mode, Outcome, Raised, Write};
use shared::id::ObjectId;
use shared::value::Value;

use crate::stage::{End, Stage, answered, int, list, put, read, refs, remove, text};

const TRAITS: &str = include_str!("../../../kernel/genesis/traits.py");

/// The lobby #1, traits #2 with its methods, and an object #10 of it, which the lobby does not name.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.put(1, &[("parents", refs(&[2])), ("traits", one(2))]);
    stage.put(2, &[("parents", refs(&[]))]);
    for method in TRAITS.split("\n\n\n").filter(|part| part.starts_with("def ")) {
        let name = method["def ".len()..].split('(').next().unwrap();
        stage.method(2, name, &format!("{}\n", method.trim_end()));
    }
    stage.put(10, &[("parents", refs(&[2]))]);
    stage
}

fn one(id: u64) -> Value {
    Value::Ref(ObjectId(id))
}

/// Sends `m`, whose body this is, to #10.
fn run(stage: &mut Stage, body: &str) -> Finished {
    let body: Vec<String> = body.lines().map(|line| format!("    {line}")).collect();
    stage.method(10, "m", &format!("def m(self):\n{}\n", body.join("\n")));
    match stage.send(10, "m", vec![], Mode::Proven) {
        End::Finished(finished) => finished,
        other => panic!("{other:?}"),
    }
}

fn check(stage: &mut Stage, body: &str, expected: Value, writes: &[Write]) {
    let finished = run(stage, body);
    answered(&finished.outcome, expected);
    assert_eq!(finished.writes, writes, "{body}");
}

fn raised(stage: &mut Stage, body: &str) -> Raised {
    let finished = run(stage, body);
    assert!(finished.writes.is_empty(), "{body}");
    match finished.outcome {
        Outcome::Raised(raised) => raised,
        other => panic!("{other:?} of {body}"),
    }
}

#[test]
fn a_resend_goes_to_the_next_holder() {
    let mut stage = stage();
    stage.put(10, &[("parents", refs(&[11, 12, 2])), ("name", text("ten"))]);
    stage.put(11, &[("parents", refs(&[13]))]);
    stage.put(12, &[("size", int(5))]).put(13, &[]);
    for (id, called) in [(11, "eleven"), (12, "twelve")] {
        let source = format!(
            "def say(self, word, times=1):\n    return [self.name, '{called}', word * times] + self.resend(word, times)\n"
        );
        stage.method(id, "say", &source);
    }
    stage.method(13, "size", "def size(self):\n    return self.resend() + 1\n");
    stage.method(10, "size", "def size(self):\n    return self.resend() * 10\n");
    stage.method(
        10,
        "say",
        "def say(self, word):\n    return ['own'] + self.resend(word, 2)\n",
    );
    stage.method(
        13,
        "say",
        "def say(self, word, times):\n    self.seen = times\n    return ['thirteen'] + self.resend(word)\n",
    );
    stage.method(
        2,
        "say",
        "def say(self, word, times):\n    return ['end ' + word]\n",
    );
    let said = [
        "own", "ten", "eleven", "aa", "thirteen", "ten", "twelve", "a", "end a",
    ];
    check(
        &mut stage,
        "return self.say('a')",
        list(said.map(text)),
        &[put(10, "seen", int(2))],
    );
    // A data slot can be the next holder.
    check(&mut stage, "return self.size()", int(60), &[]);
    // The lookup of a resend is part of the read set.
    let reads = run(&mut stage, "return self.size()").reads;
    assert!(
        reads.contains(&read(11, "size", None)) && reads.contains(&read(12, "size", Some(7))),
        "{reads:?}"
    );
}

#[test]
fn a_resend_needs_somewhere_to_go() {
    let mut stage = stage();
    stage
        .put(10, &[("other", one(11))])
        .put(11, &[("parents", refs(&[2]))]);
    let error = raised(&mut stage, "return self.resend()");
    assert_eq!(error.kind, "AttributeError");
    assert!(
        error.message.contains("after #10") && error.message.contains("slot 'm'"),
        "{error:?}"
    );
    let error = raised(&mut stage, "return self.other.resend()");
    assert!(
        error.message.contains("only `self` can be resent to"),
        "{error:?}"
    );
    // A method that takes its own holder away has nowhere to go on from.
    stage.put(10, &[("parents", refs(&[12, 2]))]).method(
        12,
        "leave",
        "def leave(self):\n    self.parents = [self.other]\n    return self.resend()\n",
    );
    assert_eq!(raised(&mut stage, "return self.leave()").kind, "AttributeError");
}

#[test]
fn a_mirror_runs_no_code_of_its_object() {
    let mut stage = stage();
    let bomb = "def mirror(self, object=None):\n    return 1 / 0\n";
    stage
        .put(11, &[("parents", refs(&[12])), ("n", int(1))])
        .put(12, &[("n", text("x")), ("day", Value::Time(0))])
        .method(11, "mirror", bomb);
    stage.put(10, &[("other", one(11))]);
    let fact = |kind: &str, holder: u64| vec![(text("kind"), text(kind)), (text("holder"), one(holder))];
    let mut method = fact("method", 11);
    method.push((text("source"), text(bomb)));
    let slots = Value::Map(vec![
        (text("parents"), Value::Map(fact("list", 11))),
        (text("n"), Value::Map(fact("int", 11))),
        (text("mirror"), Value::Map(method)),
        (text("day"), Value::Map(fact("time", 12))),
    ]);
    let expected = Value::Map(vec![
        (text("object"), one(11)),
        (text("parents"), refs(&[12])),
        (text("chain"), refs(&[11, 12])),
        (text("slots"), slots),
    ]);
    check(&mut stage, "return self.mirror(self.other)", expected, &[]);
    check(
        &mut stage,
        "mine = self.mirror()\nreturn [mine['object'], mine['slots']['clone']['holder'], len(mine['slots']['m'])]",
        list([one(10), one(2), int(3)]),
        &[],
    );
}

#[test]
fn a_deep_clone_keeps_the_shape_of_its_part() {
    let mut stage = stage();
    // 20 → 21 → 22 → 21 is a cycle; 22 is reached twice; 23 stands in the lobby; 24 is a prototype, reached as parent only.
    stage.put(1, &[("prototype", list([one(23)]))]);
    stage.put(10, &[("root", one(20))]);
    stage.put(
        20,
        &[
            ("parents", refs(&[24, 2])),
            ("left", one(21)),
            ("all", refs(&[22, 20, 23, 404])),
        ],
    );
    stage.put(
        21,
        &[
            ("parents", refs(&[22])),
            ("next", one(22)),
            ("items", list([int(1)])),
        ],
    );
    stage.put(22, &[("back", Value::Map(vec![(text("to"), one(21))]))]);
    stage
        .put(23, &[("far", one(25))])
        .put(24, &[("far", one(25))])
        .put(25, &[]);
    stage.method(
        20,
        "grow",
        "def grow(self):\n    self.left.items.append(2)\n    return self\n",
    );
    let grow = stage.objects[&20].slot("grow").unwrap().value.clone();
    let create = |id: u64, slots: Vec<(&str, Value)>| Write::Create {
        object: ObjectId(id),
        slots: slots
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    };
    check(
        &mut stage,
        "return self.root.deep_clone().grow()",
        one(1001),
        &[
            create(
                1001,
                vec![
                    ("parents", refs(&[24, 2])),
                    ("left", one(1002)),
                    ("all", refs(&[1003, 1001, 23, 404])),
                    ("grow", grow),
                ],
            ),
            create(
                1002,
                vec![
                    ("parents", refs(&[1003])),
                    ("next", one(1003)),
                    ("items", list([int(1), int(2)])),
                ],
            ),
            create(1003, vec![("back", Value::Map(vec![(text("to"), one(1002))]))]),
        ],
    );
    assert!(
        !stage.fetches.iter().flatten().any(|id| *id == 25),
        "what is shared is not looked into"
    );
    // What the run has changed so far is what is copied.
    let finished = run(
        &mut stage,
        "self.root.left.items.append(7)\nc = primitive('deep_clone', self.root.left)\nreturn [c.items, c.next.back['to'] == c]",
    );
    answered(
        &finished.outcome,
        list([list([int(1), int(7)]), Value::Bool(true)]),
    );
    let big = "self.root.left.items = ['x' * 4000000]\nfor i in range(4):\n    primitive('set_slot', self.root, f'b{i}', 'x' * 4000000)\nself.root.deep_clone()";
    assert!(
        raised(&mut stage, big)
            .message
            .contains("the deep clone of #20 is larger than 15 MiB")
    );
}

#[test]
fn a_rollback_takes_back_what_came_after_its_savepoint() {
    let mut stage = stage();
    stage.put(
        10,
        &[
            ("n", int(1)),
            ("items", list([int(1)])),
            ("gone", int(0)),
            ("parents", refs(&[11, 2])),
        ],
    );
    stage.put(11, &[("tags", list([]))]).method(
        11,
        "spoil",
        "def spoil(self):\n    self.n = 9\n    self.new = 1\n    self.tags.append(3)\n    del self.gone\n    self._p_changed = True\n    return self.clone()\n",
    );
    check(
        &mut stage,
        "self.n = 2\nself.items.append(2)\nhere = self.savepoint()\nself.items.append(3)\nself.spoil()\n\
         self.rollback_to(here)\nself.items.append(4)\nreturn [self.n, self.items, self.tags, self.gone]",
        list([int(2), list([1, 2, 4].map(int)), list([]), int(0)]),
        &[put(10, "n", int(2)), put(10, "items", list([1, 2, 4].map(int)))],
    );
    // Savepoints nest, and the one that was gone back to stays.
    check(
        &mut stage,
        "a = self.savepoint()\nself.n = 2\nb = self.savepoint()\nself.n = 3\nself.rollback_to(b)\nseen = [self.n]\n\
         self.rollback_to(a)\nseen.append(self.n)\nself.n = 4\nself.rollback_to(a)\nseen.append(self.n)\n\
         try:\n    self.rollback_to(b)\nexcept LookupError:\n    seen.append('gone')\nreturn seen",
        list([int(2), int(1), int(1), text("gone")]),
        &[],
    );
    let finished = run(
        &mut stage,
        "here = self.savepoint()\nself.spoil()\nself.rollback_to(here)",
    );
    assert!(!finished.declared && finished.writes.is_empty());
    assert!(
        finished.reads.contains(&read(11, "spoil", Some(7))),
        "what was read stays read"
    );
    // A clone that was made after the savepoint is no object any more; parents and removals come back.
    let error = raised(
        &mut stage,
        "here = self.savepoint()\nc = self.clone()\nself.rollback_to(here)\nreturn c.n",
    );
    assert_eq!(error.kind, "LookupError");
    check(
        &mut stage,
        "del self.gone\nhere = self.savepoint()\nself.gone = 5\nself.parents.pop(0)\nself.parents = [self]\n\
         primitive('rollback_to', here)\nself.tags.append(8)\nreturn primitive('has_slot', self, 'gone')",
        Value::Bool(false),
        &[remove(10, "gone"), put(10, "tags", list([int(8)]))],
    );
    let error = raised(&mut stage, "self.n = len\nself.savepoint()");
    assert_eq!(
        (
            error.kind.as_str(),
            error.message.starts_with("#10.n is a function")
        ),
        ("NotPersistent", true)
    );
    assert_eq!(raised(&mut stage, "self.rollback_to(1)").kind, "LookupError");
    assert_eq!(raised(&mut stage, "self.rollback_to('a')").kind, "TypeError");
}

#[test]
fn a_doomed_transaction_never_commits() {
    let mut stage = stage();
    stage.put(10, &[("n", int(1))]);
    let doomed = |stage: &mut Stage, body: &str, message: &str| {
        let error = raised(stage, body);
        assert_eq!(
            (error.kind.as_str(), error.message.as_str()),
            ("Doomed", message),
            "{body}"
        );
        error
    };
    doomed(
        &mut stage,
        "self.n = 2\nself.doom('too many')\nreturn self.n",
        "too many",
    );
    doomed(&mut stage, "self.doom('first')\nself.doom('second')", "first");
    doomed(
        &mut stage,
        "here = self.savepoint()\nself.doom('stays')\nself.rollback_to(here)",
        "stays",
    );
    doomed(
        &mut stage,
        "self.doom('early')\nself.nobody()",
        "early; then it raised MessageNotUnderstood: #10 does not understand 'nobody'",
    );
    let error = doomed(
        &mut stage,
        "self.doom('early')\nreturn 1 / 0",
        "early; then it raised ZeroDivisionError: division by zero",
    );
    assert_eq!(error.traceback, "m, line 3: return 1 / 0");
    assert_eq!(raised(&mut stage, "self.doom(1)").kind, "TypeError");
    check(&mut stage, "return self.n", int(1), &[]);
}
