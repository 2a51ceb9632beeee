//! Whatever is put in, the guard answers; whatever it accepts, CPython compiles.
mod cases;

use std::io::Write;
use std::process::{Command, Stdio};

use cases::{Dice, hostile::HOSTILE, legal::LEGAL, source_of};
use guard::{Expectation, check, check_bytes, signature};

/// Fragments that mutations splice in.
const FRAGMENTS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ".",
    "=",
    ":=",
    "*",
    "**",
    "\"",
    "'",
    "f\"{",
    "}\"",
    "\\",
    "\n",
    "\n    ",
    "\n        ",
    "#",
    "lambda x: ",
    "if ",
    " else ",
    "for x in ",
    "not ",
    "await ",
    "yield ",
    "return ",
    "self",
    "self.x",
    "self.items",
    ".append(1)",
    "_p_changed",
    "self._p_changed = True",
    " = 1",
    "try:",
    "except ValueError:",
    "finally:",
    "while True:",
    "break",
    "continue",
    "del ",
    "x",
    "math.pi",
    "@",
    "->",
    "0x",
    "1e9",
    "é",
    "\u{202e}",
    "\0",
    "\r",
    "\t",
    "def f(y):",
    "class A:",
    "match x:",
    "case 1:",
    "import os",
    "global x",
    "elif n:",
    "else:",
    "*x, ",
    "assert ",
    "raise ",
    " as e",
    "x for x in y",
    " if x",
    "~",
    "-",
    "n",
    "in",
    "is",
    "!r",
    ":>10",
    "b''",
    "r''",
    "'''",
    "...",
    ";",
    "|",
    "%",
    "_",
];

fn mutated(dice: &mut Dice, base: &str) -> String {
    let mut text: Vec<char> = base.chars().collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(text.len() + 1);
        match dice.roll(4) {
            0 => {
                let end = (at + dice.roll(8)).min(text.len());
                text.drain(at..end);
            }
            1 => {
                let fragment = FRAGMENTS[dice.roll(FRAGMENTS.len())];
                text.splice(at..at, fragment.chars());
            }
            2 => {
                let end = (at + dice.roll(30)).min(text.len());
                let piece: Vec<char> = text[at..end].to_vec();
                let to = dice.roll(text.len() + 1);
                text.splice(to..to, piece);
            }
            _ => {
                if at < text.len() {
                    text[at] = char::from(32 + dice.roll(95) as u8);
                }
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..1_500 {
        let bytes: Vec<u8> = (0..dice.roll(300)).map(|_| dice.roll(256) as u8).collect();
        assert!(!check_bytes(&bytes, &Expectation::any()).is_ok());
        let soup: String = (0..dice.roll(60))
            .map(|_| FRAGMENTS[dice.roll(FRAGMENTS.len())])
            .collect();
        let verdict = check(&format!("def a(self):\n    {soup}"), &Expectation::any());
        assert!(
            verdict
                .findings
                .iter()
                .all(|finding| finding.rule != guard::Rule::Internal),
            "{soup:?}"
        );
        signature(&soup);
    }
}

/// The guard must not accept what CPython 3.11 refuses: such a method would fail after it was installed.
#[test]
fn what_is_accepted_compiles() {
    let python = "/usr/bin/python3";
    let version = Command::new(python).arg("--version").output();
    let is_311 = version.is_ok_and(|output| output.stdout.starts_with(b"Python 3.11"));
    if !is_311 {
        eprintln!("skipped: there is no Python 3.11 at {python}");
        return;
    }
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    // More rounds by hand: GUARD_ROUNDS=400000.
    let mut accepted: Vec<String> = Vec::new();
    let bases: Vec<String> = LEGAL
        .iter()
        .copied()
        .chain(HOSTILE.iter().map(|(_, snippet)| *snippet))
        .map(source_of)
        .collect();
    for base in &bases {
        if check(base, &Expectation::any()).is_ok() {
            accepted.push(base.clone());
        }
    }
    let rounds = std::env::var("GUARD_ROUNDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(20_000);
    for round in 0..rounds {
        // Three of four mutations start from a legal method, so that many stay legal.
        let base = &bases[if round % 4 == 0 {
            round % bases.len()
        } else {
            round % LEGAL.len()
        }];
        let source = mutated(&mut dice, base);
        let verdict = check(&source, &Expectation::any());
        assert!(
            verdict
                .findings
                .iter()
                .all(|finding| finding.rule != guard::Rule::Internal),
            "{source}"
        );
        if verdict.is_ok() {
            accepted.push(source);
        }
    }
    // The deepest legal sources must compile too.
    for deep in [
        format!(
            "return {}n{}",
            "(".repeat(guard::MAX_BRACKET_DEPTH),
            ")".repeat(guard::MAX_BRACKET_DEPTH)
        ),
        format!("return n{}", " + n".repeat(guard::MAX_EXPRESSION_DEPTH - 1)),
        format!("return {}n", "not ".repeat(guard::MAX_EXPRESSION_DEPTH - 1)),
        format!("return {}n", "-".repeat(guard::MAX_EXPRESSION_DEPTH - 1)),
        format!("return {}n", "lambda: ".repeat(14)),
        format!("return {}n", "n if n else ".repeat(59)),
        format!("return {}n{}", "[0, {1: (".repeat(8), ")}]".repeat(8)),
        format!("if n:\n    pass\n{}", "elif n:\n    pass\n".repeat(80)),
    ] {
        let source = source_of(&deep);
        let verdict = check(&source, &Expectation::any());
        assert!(verdict.is_ok(), "{:?}\n{source}", verdict.findings);
        accepted.push(source);
    }
    assert!(
        accepted.len() > 500,
        "only {} accepted: the mutations prove little",
        accepted.len()
    );
    let program = "import sys, warnings\nwarnings.simplefilter('ignore')\nbad = 0\n\
        for i, s in enumerate(sys.stdin.buffer.read().decode('utf-8').split('\\0')):\n\
        \x20   try:\n        compile(s, 'method', 'exec')\n\
        \x20   except Exception as e:\n        bad += 1; print(i, type(e).__name__, e, ascii(s))\n\
        sys.exit(1 if bad else 0)\n";
    let mut child = Command::new(python)
        .args(["-I", "-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = child.stdin.take().expect("piped");
    let joined = accepted.join("\0");
    input.write_all(joined.as_bytes()).expect("python reads");
    drop(input);
    let output = child.wait_with_output().expect("python ends");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    println!("{} accepted sources compiled", accepted.len());
}
