//! No source, however deep or long, overflows a stack or takes long.
mod cases;

use std::time::{Duration, Instant};

use cases::method;
use guard::{Expectation, Rule, Verdict, check};

fn judged(source: &str) -> Verdict {
    let start = Instant::now();
    let verdict = check(source, &Expectation::any());
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "{took:?} for {} bytes",
        source.len()
    );
    verdict
}

/// Fills the part up to just under the bound of bytes.
fn filled(before: &str, part: &str, after: &str) -> String {
    let count = (60 * 1024 - before.len() - after.len()) / part.len();
    format!("{before}{}{after}", part.repeat(count))
}

#[test]
fn deep_sources_are_refused_quickly() {
    let head = "def a(self):\n    return ";
    let mut sources = vec![
        (
            "100,000 brackets",
            format!("{head}{}1{}\n", "(".repeat(100_000), ")".repeat(100_000)),
        ),
        (
            "30,000 brackets",
            format!("{head}{}1{}\n", "(".repeat(30_000), ")".repeat(30_000)),
        ),
        ("60,000 open brackets", filled(head, "[", "\n")),
        ("60,000 open braces", filled(head, "{", "\n")),
        ("closing brackets", filled(head, ")", "\n")),
        ("sum", filled(head, "a+", "a\n")),
        ("not", filled(head, "not ", "a\n")),
        ("minus", filled(head, "-", "1\n")),
        ("tilde", filled(head, "~", "1\n")),
        ("power", filled(head, "2**", "1\n")),
        ("attributes", filled(head, "a.", "b\n")),
        ("calls", filled(&format!("{head}a"), "()", "\n")),
        ("subscripts", filled(&format!("{head}a"), "[0]", "\n")),
        ("lambda", filled(head, "lambda:", "1\n")),
        ("lambda with parameters", filled(head, "lambda x,y:", "1\n")),
        ("conditional", filled(head, "a if b else ", "1\n")),
        ("and", filled(head, "a and ", "1\n")),
        ("compare", filled(head, "a<", "1\n")),
        ("await", filled(head, "await ", "a\n")),
        ("yield", filled(head, "(yield ", "a\n")),
        ("walrus", filled(head, "(a:=", "1\n")),
        ("f-strings", filled(head, "f'{", "1\n")),
        ("f-strings of both quotes", filled(head, "f'{f\"{", "1\n")),
        ("format specs", filled(&format!("{head}f'{{a"), ":{a", "}'\n")),
        ("stars", filled(head, "*", "a\n")),
        ("dicts", filled(head, "{a:", "1\n")),
        ("comprehensions", filled(head, "[a for b in ", "c\n")),
        (
            "comprehension clauses",
            filled(&format!("{head}[a "), "for b in c ", "]\n"),
        ),
        ("decorators", filled("", "@a\n", "def b(self):\n    pass\n")),
        ("semicolons", filled("def a(self):\n    ", "x=1;", "\n")),
        ("assignments", filled("def a(self):\n    ", "x=", "1\n")),
        ("colons", filled("def a(self):\n    ", "if 1:", "1\n")),
        ("else", filled("def a(self):\n    ", "else ", "1\n")),
        ("quotes", filled(head, "\"", "\n")),
        ("triple quotes", filled(head, "\"\"\"", "\n")),
        ("backslashes", filled(head, "\\\n", "1\n")),
        ("commas", filled(head, "1,", "\n")),
    ];
    let mut nested = String::from("def a(self):\n");
    for depth in 1..5_000 {
        nested.push_str(&" ".repeat(depth));
        nested.push_str("if 1:\n");
    }
    sources.push(("5,000 nested ifs", nested));
    let mut nested = String::from("def a(self):\n");
    for depth in 1..340 {
        nested.push_str(&" ".repeat(depth));
        nested.push_str("if 1:\n");
    }
    nested.push_str(&" ".repeat(340));
    nested.push_str("pass\n");
    sources.push(("340 nested ifs", nested));
    let elifs = format!(
        "def a(self, n):\n    if n:\n        pass\n{}",
        "    elif n:\n        pass\n".repeat(190)
    );
    sources.push(("190 elifs", elifs));
    sources.push((
        "3,000 elifs",
        filled("def a(self, n):\n    if n: pass\n", "    elif n: pass\n", ""),
    ));
    for (story, source) in sources {
        let harmless = matches!(
            story,
            "semicolons" | "commas" | "assignments" | "stars" | "backslashes"
        );
        let verdict = judged(&source);
        assert!(harmless || !verdict.is_ok(), "{story} passed");
    }
}

/// A bound that is never reached proves nothing: just inside, a source passes; just outside, it does not.
#[test]
fn bounds_are_where_they_are_said_to_be() {
    let rule_of = |source: &str| judged(source).findings.first().map(|finding| finding.rule);
    let brackets = |count: usize| method(&format!("return {}n{}", "[".repeat(count), "]".repeat(count)));
    assert_eq!(rule_of(&brackets(guard::MAX_BRACKET_DEPTH)), None);
    assert_eq!(
        rule_of(&brackets(guard::MAX_BRACKET_DEPTH + 1)),
        Some(Rule::TooDeep)
    );
    let chain = |count: usize| method(&format!("return n{}", " + n".repeat(count)));
    assert_eq!(rule_of(&chain(guard::MAX_EXPRESSION_DEPTH - 1)), None);
    assert_eq!(
        rule_of(&chain(guard::MAX_EXPRESSION_DEPTH + 1)),
        Some(Rule::TooDeep)
    );
    let lines = |count: usize| format!("def a(self):\n{}", "    pass\n".repeat(count - 1));
    assert_eq!(rule_of(&lines(guard::MAX_LINES)), None);
    assert_eq!(rule_of(&lines(guard::MAX_LINES + 1)), Some(Rule::TooLong));
    let bytes = |count: usize| format!("def a(self):\n    pass\n#{}", "x".repeat(count - 23));
    assert_eq!(rule_of(&bytes(guard::MAX_SOURCE_BYTES)), None);
    assert_eq!(rule_of(&bytes(guard::MAX_SOURCE_BYTES + 1)), Some(Rule::TooLong));
}

/// A long flat table is not deep.
#[test]
fn flat_tables_pass() {
    let rows = "(1, \"a\", [2, 3], -4.5), ".repeat(1_000);
    let verdict = judged(&method(&format!("return [{rows}]")));
    assert!(verdict.is_ok(), "{:?}", verdict.findings);
}

/// Nested loops over chains of names once cost rounds to the power of the depth.
#[test]
fn entangled_loops_end() {
    let mut body = String::new();
    for depth in 0..10 {
        body.push_str(&format!("{}for i{depth} in self.items:\n", " ".repeat(depth)));
    }
    for name in 0..200 {
        body.push_str(&format!("{}a{name} = a{}\n", " ".repeat(10), name + 1));
    }
    judged(&method(&body));
    let mut tries = String::new();
    for depth in 0..4 {
        tries.push_str(&format!("{}try:\n", " ".repeat(depth)));
    }
    tries.push_str(&format!(
        "{}self.x = 1\n{}return 1\n",
        " ".repeat(4),
        " ".repeat(4)
    ));
    for depth in (0..4).rev() {
        tries.push_str(&format!("{0}finally:\n{0} self.y = 1\n", " ".repeat(depth)));
    }
    judged(&method(&tries));
    judged(&method(&format!(
        "return {}n{}",
        "[x for x in ".repeat(20),
        "]".repeat(20)
    )));
    judged(&method(&format!(
        "return {}n{}",
        "[".repeat(20),
        " for x in self.items]".repeat(20)
    )));
}
