//! Entries as methods see them: subscripts, ranges, merging changes.

use shared::activation::{Finished, Mode, Outcome, Raised, Write};
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use crate::stage::{End, Stage, answered, int, list, refs, text};

/// An object #10 with entries a, b, c → 1, 2, [3]; #11 with 0 … 9 → 0, 10 … 90; #12 without any.
pub(crate) fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.put(1, &[]);
    stage.put(
        10,
        &[
            ("map", one(10)),
            ("row", one(11)),
            ("bare", one(12)),
            ("parents", refs(&[11])),
        ],
    );
    stage.put(11, &[]).put(12, &[]);
    stage.store(
        10,
        &[
            (text("a"), int(1)),
            (text("b"), int(2)),
            (text("c"), list([int(3)])),
        ],
    );
    let row: Vec<(Value, Value)> = (0..10).map(|at| (int(at), int(at * 10))).collect();
    stage.store(11, &row);
    stage
}

pub(crate) fn one(id: u64) -> Value {
    Value::Ref(ObjectId(id))
}

fn source(body: &str) -> String {
    let body: Vec<String> = body.lines().map(|line| format!("    {line}")).collect();
    format!("def m(self):\n{}\n", body.join("\n"))
}

/// Sends `m`, whose body this is, to #10.
pub(crate) fn run(stage: &mut Stage, body: &str) -> Finished {
    stage.method(10, "m", &source(body));
    match stage.send(10, "m", vec![], Mode::Proven) {
        End::Finished(finished) => finished,
        other => panic!("{other:?} of {body}"),
    }
}

/// What the body answers, writes and asks about entries.
pub(crate) fn check(stage: &mut Stage, body: &str, expected: Value, writes: &[Write], asked: &[&str]) {
    let finished = run(stage, body);
    answered(&finished.outcome, expected);
    assert_eq!(finished.writes, writes, "{body}");
    assert_eq!(stage.entry_reads, asked, "{body}");
}

pub(crate) fn raised(stage: &mut Stage, body: &str) -> Raised {
    let finished = run(stage, body);
    assert!(finished.writes.is_empty(), "{body}");
    match finished.outcome {
        Outcome::Raised(raised) => raised,
        other => panic!("{other:?} of {body}"),
    }
}

pub(crate) fn key(value: Value) -> Key {
    Key::of(&value).unwrap()
}

pub(crate) fn put(id: u64, at: Value, value: Value) -> Write {
    Write::PutEntry {
        object: ObjectId(id),
        key: key(at),
        value,
    }
}

pub(crate) fn remove(id: u64, at: Value) -> Write {
    Write::RemoveEntry {
        object: ObjectId(id),
        key: key(at),
    }
}

pub(crate) fn add(id: u64, at: Value, amount: Value) -> Write {
    Write::AddEntry {
        object: ObjectId(id),
        key: key(at),
        amount,
    }
}

pub(crate) fn append(id: u64, value: Value) -> Write {
    Write::Append {
        object: ObjectId(id),
        value,
    }
}

pub(crate) fn ints(items: impl IntoIterator<Item = i64>) -> Value {
    list(items.into_iter().map(int))
}

pub(crate) fn texts(items: &[&str]) -> Value {
    list(items.iter().map(|item| text(item)))
}

#[test]
fn subscripts_are_entries() {
    let mut stage = stage();
    // Read once, however often it is looked at; nobody inherits entries.
    check(
        &mut stage,
        "return [self['a'], self['a'], 'b' in self, 'z' in self, 1 in self, self.row[9]]",
        list([
            int(1),
            int(1),
            Value::Bool(true),
            Value::Bool(false),
            Value::Bool(false),
            int(90),
        ]),
        &[],
        &["#10[a]", "#10[b]", "#10[z]", "#10[1]", "#11[9]"],
    );
    // A put looks at nothing; what it puts is there at once; an assignment of what was read is none.
    check(
        &mut stage,
        "self['n'] = 5\nself['n'] += 1\nself['a'] = self['a']\nself['b'] = 2.0\nreturn [self['n'], self['b']]",
        list([int(6), Value::Float(2.0)]),
        &[put(10, text("b"), Value::Float(2.0)), put(10, text("n"), int(6))],
        &["#10[a]"],
    );
    check(
        &mut stage,
        "del self['a']\nself['x'] = 1\ndel self['x']\nseen = ['a' in self, 'x' in self]\nself['b'] = 1\ndel self['b']\nself['b'] = 2\nreturn seen",
        list([Value::Bool(false), Value::Bool(false)]),
        &[
            remove(10, text("a")),
            put(10, text("b"), int(2)),
            remove(10, text("x")),
        ],
        &["#10[a]"],
    );
    // Keys of every kind in their order; 3.0 is 3, and lists of keys come back as tuples.
    let finished = run(
        &mut stage,
        "row = self.bare\nfor key in [('a', 1), [], self, b'x', 'é', datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), 2, 1.5, -1]:\n    row[key] = 0\n\
         row[3.0] = 1\nkeys = list(row)\nreturn [keys[:4], keys[4].year, keys[5:8], keys[8] == (), {keys[9]: 7}[('a', 1)], row[3]]",
    );
    let expected = [
        list([int(-1), Value::Float(1.5), int(2), int(3)]),
        int(2026),
        list([text("é"), Value::Bytes(b"x".to_vec()), one(10)]),
        Value::Bool(true),
        int(7),
        int(1),
    ];
    answered(&finished.outcome, list(expected));
    assert_eq!(finished.writes.len(), 10);
}

#[test]
fn what_is_absent_or_no_key_says_so() {
    let mut stage = stage();
    for (body, kind, message) in [
        ("return self['z']", "KeyError", "'z'"),
        ("del self[7]", "KeyError", "7"),
        ("self['z'] += 1", "KeyError", "'z'"),
        ("self[None] = 1", "TypeError", "a none cannot be a key"),
        ("self[True] = 1", "TypeError", "a bool cannot be a key"),
        ("return {1} in self", "TypeError", "the key is a set"),
        ("return self['a':'b']", "TypeError", "items(from, to)"),
        ("return self[1e400]", "ValueError", "not finite"),
        ("return self['x' * 500]", "ValueError", "longer than 480"),
        ("self[self.absent] = 1", "AttributeError", "has no slot 'absent'"),
        (
            "self['a'] = self.absent",
            "AttributeError",
            "has no slot 'absent'",
        ),
        ("self['a'] = [{1}]", "NotPersistent", "#10['a'][0] is a set"),
        ("self[2] = len", "NotPersistent", "#10[2] is a function"),
        (
            "self['a'] = primitive('keys', self)",
            "NotPersistent",
            "#10['a'] is a range of entries",
        ),
        (
            "primitive('append', self, {1})",
            "NotPersistent",
            "what is appended to #10 is a set",
        ),
        (
            "primitive('add', self, 'a', 'x')",
            "TypeError",
            "a text cannot be added",
        ),
        (
            "primitive('add', self, 'a', True)",
            "TypeError",
            "a bool cannot be added",
        ),
        (
            "primitive('add', self, 'c', 1)\nreturn self['c']",
            "TypeError",
            "#10['c'] is a list",
        ),
        (
            "self['n'] = 2**63 - 1\nprimitive('add', self, 'n', 1)",
            "OverflowError",
            "#10['n'] would be beyond 64 bits",
        ),
        (
            "primitive('keys', self, None, None, -1)",
            "TypeError",
            "not a number of entries",
        ),
        (
            "primitive('keys', self, None, None, None, 1)",
            "TypeError",
            "there is no primitive 'keys' of 6",
        ),
        (
            "for i in range(5):\n    self[i] = 'x' * 4000000",
            "NotPersistent",
            "15 MiB",
        ),
    ] {
        let body = match body {
            "primitive('keys', self, None, None, None, 1)" => {
                "primitive('keys', self, None, None, None, 1, 2)"
            }
            other => other,
        };
        let error = raised(&mut stage, body);
        assert_eq!(error.kind, kind, "{body}: {error:?}");
        assert!(error.message.contains(message), "{body}: {error:?}");
    }
}

#[test]
fn an_object_is_true_and_as_long_as_its_entries() {
    let mut stage = stage();
    check(
        &mut stage,
        "return [bool(self.bare), 1 if self.bare else 2, self.bare or 0, len(self), len(self), len(self.bare)]",
        list([Value::Bool(true), int(1), one(12), int(3), int(3), int(0)]),
        &[],
        &["len(#10)", "len(#12)"],
    );
    // What was put blindly must be looked at; what was read is known.
    check(
        &mut stage,
        "self['b'] = 0\nself['n'] = 0\ndel self['a']\nprimitive('add', self, 'm', 1)\nprimitive('append', self, 9)\nreturn len(self)",
        int(5),
        &[
            remove(10, text("a")),
            put(10, text("b"), int(0)),
            add(10, text("m"), int(1)),
            put(10, text("n"), int(0)),
            append(10, int(9)),
        ],
        &["#10[a]", "len(#10)", "#10[b]", "#10[m]", "#10[n]"],
    );
    let finished = run(
        &mut stage,
        "c = primitive('child', self)\nc['a'] = 1\nc['b'] = 2\ndel c['a']\nprimitive('append', c, 3)\nreturn [len(c), list(c), c['b'], c[0]]",
    );
    answered(
        &finished.outcome,
        list([int(2), list([int(0), text("b")]), int(2), int(3)]),
    );
    assert!(
        stage.entry_reads.is_empty(),
        "nothing is stored of what was made here"
    );
}

#[test]
fn adds_and_appends_merge_unless_they_are_looked_at() {
    let mut stage = stage();
    check(
        &mut stage,
        "primitive('add', self, 'a', 2)\nprimitive('add', self, 'a', 3)\nprimitive('add', self, 'n', 0.5)\nprimitive('append', self.row, 'x')\n\
         primitive('append', self.row, ['y'])",
        Value::None,
        &[
            add(10, text("a"), int(5)),
            add(10, text("n"), Value::Float(0.5)),
            append(11, text("x")),
            append(11, texts(&["y"])),
        ],
        &[],
    );
    // Looked at, the sum is read and put.
    check(
        &mut stage,
        "primitive('add', self, 'a', 2)\nseen = self['a']\nprimitive('add', self, 'a', 1)\nprimitive('add', self, 'n', 1)\nreturn [seen, self['a'], 'n' in self]",
        list([int(3), int(4), Value::Bool(true)]),
        &[put(10, text("a"), int(4)), add(10, text("n"), int(1))],
        &["#10[a]"],
    );
    check(
        &mut stage,
        "primitive('add', self, 'b', 1)\nprimitive('add', self, 'bb', 1)\nreturn [list(primitive('keys', self)), list(primitive('items', self, 'b', 'c'))]",
        list([
            texts(&["a", "b", "bb", "c"]),
            list([list([text("b"), int(3)]), list([text("bb"), int(1)])]),
        ]),
        &[put(10, text("b"), int(3)), put(10, text("bb"), int(1))],
        &["#10[a b c end]", "#10[b end]", "#10[bb]"],
    );
    // On top of what this run has put or removed it is arithmetic.
    check(
        &mut stage,
        "self['n'] = 1\nprimitive('add', self, 'n', 2)\ndel self['a']\nprimitive('add', self, 'a', 7)\nreturn [self['n'], self['a']]",
        ints([3, 7]),
        &[put(10, text("a"), int(7)), put(10, text("n"), int(3))],
        &["#10[a]"],
    );
    // Appended values get their keys when somebody looks where they could stand; texts and length are elsewhere.
    check(
        &mut stage,
        "primitive('append', self.row, 'x')\nprimitive('append', self.row, 'y')\nreturn ['t' in self.row, len(self.row)]",
        list([Value::Bool(false), int(12)]),
        &[append(11, text("x")), append(11, text("y"))],
        &["#11[t]", "len(#11)"],
    );
    check(
        &mut stage,
        "primitive('append', self.row, 'x')\nprimitive('append', self.row, 'y')\nreturn [self.row[11], primitive('last', self.row), self.row[10]]",
        list([text("y"), list([int(11), text("y")]), text("x")]),
        &[put(11, int(10), text("x")), put(11, int(11), text("y"))],
        &["#11[9]", "#11[9]"],
    );
    // Changes of integer keys keep their order with appends.
    check(
        &mut stage,
        "primitive('append', self.row, 'x')\nself.row[20] = 'far'\nprimitive('append', self.row, 'y')\nprimitive('append', self.bare, 'z')",
        Value::None,
        &[
            put(11, int(10), text("x")),
            put(11, int(20), text("far")),
            append(11, text("y")),
            append(12, text("z")),
        ],
        &["#11[9]"],
    );
}

#[test]
fn lists_and_maps_in_entries_are_measured() {
    let mut stage = stage();
    stage.store(10, &[(text("d"), Value::Map(vec![(text("k"), list([]))]))]);
    check(
        &mut stage,
        "self['c'].append(4)\nseen = self['c'] is self['c']\nfor key, value in primitive('items', self, 'd'):\n    value['k'].append(key)\n\
         mine = []\nself['e'] = mine\nmine.append(1)\nprimitive('append', self.bare, mine)\nmine.append(2)\nreturn [seen, self['d']]",
        list([Value::Bool(true), Value::Map(vec![(text("k"), texts(&["d"]))])]),
        &[
            put(10, text("c"), ints([3, 4])),
            put(10, text("d"), Value::Map(vec![(text("k"), texts(&["d"]))])),
            put(10, text("e"), ints([1, 2])),
            append(12, ints([1, 2])),
        ],
        &["#10[c]", "#10[d end]"],
    );
    check(
        &mut stage,
        "return [self['c'], self['d']['k']]",
        list([ints([3]), list([])]),
        &[],
        &["#10[c]", "#10[d]"],
    );
    // Thousands of lists pass; those that nobody holds are let go, and no change of the others is lost.
    let many: Vec<(Value, Value)> = (0..6000).map(|at| (int(at), list([ints([at])]))).collect();
    stage.store(12, &many);
    let finished = run(
        &mut stage,
        "first = self.bare[0][0]\nkept = {}\nfor key, value in primitive('items', self.bare):\n    if key % 1000 == 7:\n        kept[key] = value[0]\n    if key % 1000 == 8:\n        value[0].append('now')\n\
         first.append('first')\nfor key in kept:\n    kept[key].append('later')\nreturn self.bare[7]",
    );
    answered(&finished.outcome, list([list([int(7), text("later")])]));
    let mut expected = vec![put(12, int(0), list([list([int(0), text("first")])]))];
    for thousand in 0..6 {
        let at = thousand * 1000;
        expected.push(put(12, int(at + 7), list([list([int(at + 7), text("later")])])));
        expected.push(put(12, int(at + 8), list([list([int(at + 8), text("now")])])));
    }
    assert_eq!(finished.writes, expected);
}

#[test]
fn entries_go_back_to_their_savepoint() {
    let mut stage = stage();
    check(
        &mut stage,
        "self['a'] = 5\nself['c'].append(4)\nprimitive('add', self, 'b', 1)\nprimitive('append', self.row, 'x')\nhere = primitive('savepoint')\n\
         self['a'] = 6\nself['c'].append(5)\nprimitive('add', self, 'b', 1)\nprimitive('append', self.row, 'y')\nself.bare['new'] = 1\ndel self['a']\nlist(self.row)\n\
         primitive('rollback_to', here)\nself['c'].append(6)\nreturn [self['a'], self['c'], 'new' in self.bare]",
        list([int(5), ints([3, 4, 6]), Value::Bool(false)]),
        &[
            put(10, text("a"), int(5)),
            add(10, text("b"), int(1)),
            put(10, text("c"), ints([3, 4, 6])),
            append(11, text("x")),
        ],
        &[
            "#10[c]",
            "len(#11)",
            "#11[9]",
            "#11[0 1 2 3 4 5 6 7 8 9 end]",
            "#12[new]",
        ],
    );
    check(
        &mut stage,
        "here = primitive('savepoint')\nself['c'].append(4)\ndel self['b']\nprimitive('rollback_to', here)\nreturn [self['c'], self['b'], list(self)]",
        list([ints([3]), int(2), texts(&["a", "b", "c"])]),
        &[],
        &["#10[c]", "#10[b]", "len(#10)", "#10[a b c end]"],
    );
    let error = raised(&mut stage, "self['a'] = len\nprimitive('savepoint')");
    assert!(error.message.starts_with("#10['a'] is a function"), "{error:?}");
}

#[test]
fn sends_inside_see_and_change_the_same_entries() {
    let mut stage = stage();
    stage.method(
        11,
        "grow",
        "def grow(self, by):\n    self['sum'] = self['sum'] + by\n    return len(self)\n",
    );
    stage.put(11, &[("map", one(10))]);
    check(
        &mut stage,
        "self['sum'] = 1\nself.grow(2)\nself.row['sum'] = 10\nself.row.grow(5)\nreturn [self['sum'], self.row['sum']]",
        ints([3, 15]),
        &[put(10, text("sum"), int(3)), put(11, text("sum"), int(15))],
        &["len(#10)", "#10[sum]", "len(#11)", "#11[sum]"],
    );
    // Made in this run, an object has its entries written after it.
    let finished = run(
        &mut stage,
        "c = primitive('child', self)\nc['me'] = c\nc['n'] = 0\nprimitive('add', c, 'n', 2)\nprimitive('append', c, 1)\nself['new'] = c\nreturn c['n']",
    );
    answered(&finished.outcome, int(2));
    let kinds: Vec<(u64, &str)> = finished
        .writes
        .iter()
        .map(|write| {
            let kind = match write {
                Write::Create { .. } => "create",
                Write::PutEntry { .. } => "put",
                Write::Append { .. } => "append",
                _ => "other",
            };
            (write.object().0, kind)
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (1001, "create"),
            (1001, "put"),
            (1001, "put"),
            (1001, "append"),
            (10, "put")
        ]
    );
}

#[test]
fn a_gone_object_has_no_entries() {
    let mut stage = stage();
    stage.put(10, &[("gone", one(404))]);
    for body in [
        "return self.gone['a']",
        "self.gone['a'] = 1",
        "return len(self.gone)",
        "return list(self.gone)",
        "primitive('append', self.gone, 1)",
        "primitive('add', self.gone, 1, 1)",
    ] {
        assert_eq!(
            raised(&mut stage, body).message,
            "object #404 does not exist",
            "{body}"
        );
    }
}
