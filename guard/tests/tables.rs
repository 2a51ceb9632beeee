//! Every legal snippet passes; every hostile one is refused by its rule.
mod cases;

use cases::{hostile::HOSTILE, legal::LEGAL, source_of};
use guard::{Expectation, Rule, check, check_bytes, signature};

#[test]
fn legal_methods_pass() {
    let mut wrong = Vec::new();
    for snippet in LEGAL {
        let source = source_of(snippet);
        let verdict = check(&source, &Expectation::any());
        if !verdict.is_ok() {
            let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
            wrong.push(format!("{source}\n  {}", findings.join("\n  ")));
        }
    }
    assert!(LEGAL.len() >= 80, "{} legal snippets", LEGAL.len());
    assert!(wrong.is_empty(), "{} refused:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn hostile_methods_are_refused_by_their_rule() {
    let mut wrong = Vec::new();
    for (rule, snippet) in HOSTILE {
        let source = source_of(snippet);
        let verdict = check(&source, &Expectation::any());
        if !verdict.findings.iter().any(|finding| finding.rule == *rule) {
            let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{source}\n  wanted {rule}, found [{}]",
                findings.join("; ")
            ));
        }
    }
    assert!(HOSTILE.len() >= 120, "{} hostile snippets", HOSTILE.len());
    assert!(wrong.is_empty(), "{} slipped:\n{}", wrong.len(), wrong.join("\n"));
}

/// The covenant's refusals name the line of the change, so that the author finds it.
#[test]
fn a_finding_says_where_and_what_to_write() {
    let verdict = check(
        "def act(self, n):\n    x = n\n    self.count = x\n    return x\n",
        &Expectation::any(),
    );
    let [finding] = verdict.findings.as_slice() else {
        panic!("{:?}", verdict.findings)
    };
    assert_eq!((finding.rule.word(), finding.line), ("undeclared_change", 3));
    assert!(
        finding.message.contains("self.count") && finding.message.contains("line 4"),
        "{}",
        finding.message
    );
    assert!(
        finding.message.contains("self._p_changed = True"),
        "{}",
        finding.message
    );
}

#[test]
fn an_unneeded_marker_is_only_a_warning() {
    let verdict = check(
        "def act(self):\n    self._p_changed = True\n    return 1\n",
        &Expectation::any(),
    );
    assert!(verdict.is_ok());
    assert_eq!(verdict.warnings.len(), 1);
    assert_eq!(
        (verdict.warnings[0].rule, verdict.warnings[0].line),
        (Rule::UnneededMarker, 2)
    );
    let needed = check(
        "def act(self):\n    self.x = 1\n    self._p_changed = True\n",
        &Expectation::any(),
    );
    assert!(needed.warnings.is_empty());
}

#[test]
fn the_message_must_fit() {
    let source = "def move(self, x, y=0):\n    return x\n";
    let rules = |expected: Expectation| -> Vec<Rule> {
        check(source, &expected)
            .findings
            .iter()
            .map(|finding| finding.rule)
            .collect()
    };
    assert_eq!(rules(Expectation::message("move", 1)), []);
    assert_eq!(rules(Expectation::message("move", 2)), []);
    assert_eq!(rules(Expectation::selector("move")), []);
    assert_eq!(rules(Expectation::message("move", 0)), [Rule::ArityMismatch]);
    assert_eq!(rules(Expectation::message("move", 3)), [Rule::ArityMismatch]);
    assert_eq!(
        rules(Expectation::message("go", 3)),
        [Rule::SelectorMismatch, Rule::ArityMismatch]
    );
}

#[test]
fn a_signature_is_read_without_judging_the_body() {
    let found = signature("def move(self, x, y=0):\n    import os\n").expect("a plain def");
    assert_eq!(
        (found.name.as_str(), found.required, found.parameters.len()),
        ("move", 1, 2)
    );
    assert_eq!(
        (found.parameters[1].name.as_str(), found.parameters[1].has_default),
        ("y", true)
    );
    assert!(found.accepts(1) && found.accepts(2) && !found.accepts(0) && !found.accepts(3));
    for bad in [
        "",
        "x = 1",
        "def f(): pass",
        "def f(self, *a): pass",
        "async def f(self): pass",
        "def f(self",
    ] {
        assert_eq!(signature(bad), None, "{bad}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let verdict = check_bytes(b"def act(self):\n    return '\xff'\n", &Expectation::any());
    assert_eq!(
        (verdict.findings[0].rule, verdict.findings[0].line),
        (Rule::ForbiddenCharacter, 2)
    );
    assert!(check_bytes(b"def act(self):\n    return 1\n", &Expectation::any()).is_ok());
}

/// The words are a contract with the audit log and the prompts: distinct, and of one shape.
#[test]
fn words_are_stable() {
    let mut words: Vec<&str> = Rule::ALL.iter().map(|rule| rule.word()).collect();
    assert!(
        words
            .iter()
            .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    );
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Rule::ALL.len());
}
