//! Everything that the grammars let through is well-formed, and what people write is let through.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared::inference::{Grammar, MethodGrammar};
use tokenizers::Tokenizer;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder, TokenizerImpl};

use super::{Constraint, Grammars, python};

/// How GPT-2 and Llama 3 cut a text before they join bytes: the first leaves an end of line with its indentation, the second apart.
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// What a script of `tests/python` answers to lines of JSON.
pub fn script(name: &str, arguments: &[&str], input: &[String]) -> Vec<String> {
    let mut child = Command::new("/usr/bin/python3")
        .arg(tests().join(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: Vec<String> = input
        .iter()
        .map(|text| serde_json::to_string(text).unwrap())
        .collect();
    let writer = std::thread::spawn(move || {
        for line in input {
            writeln!(stdin, "{line}").unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{name}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Functions of the standard library in canonical form that fit a method's size: each `every`th.
fn functions(every: &str) -> Vec<String> {
    let lines = script("functions.py", &[every], &[]);
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn seed() -> Grammars {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/model/tokenizer.json");
    let tokenizer = Tokenizer::from_file(path).unwrap();
    let end = tokenizer.token_to_id("<|end|>").unwrap();
    let logits = tokenizer.get_vocab_size(true);
    Grammars::of(tokenizer, vec![end], logits)
}

/// A tokenizer of 6,000 tokens, joined from the standard library's functions.
fn trained(pattern: &str) -> Grammars {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| functions("20"));
    let cut = SplitPattern::Regex(pattern.into());
    let split = Split::new(cut, SplitDelimiterBehavior::Isolated, false).unwrap();
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, false, false);
    let mut tokenizer: TokenizerImpl<BPE, _, Sequence, ByteLevel, ByteLevel> = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_post_processor(None)
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .unwrap();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(6_000)
        .show_progress(false)
        .initial_alphabet(
            tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
                .into_iter()
                .collect(),
        )
        .special_tokens(vec![AddedToken::from("<|end|>", true)])
        .build();
    tokenizer
        .train(&mut trainer, texts.iter().map(String::as_str))
        .unwrap();
    let tokenizer: Tokenizer =
        serde_json::from_str::<Tokenizer>(&tokenizer.to_string(false).unwrap()).unwrap();
    let logits = tokenizer.get_vocab_size(true);
    Grammars::of(tokenizer, vec![0], logits)
}

fn wish() -> MethodGrammar {
    MethodGrammar {
        selector: "add_to_tags".into(),
        arguments: 1,
        slots: ["tags", "count", "object_id"].map(str::to_owned).into(),
        refusal: None,
    }
}

/// What a grammar takes of a text, token by token as its tokenizer writes it, and whether the text may end there.
fn taken(constraint: &mut Constraint, text: &str) -> (usize, bool) {
    let matcher = constraint.matcher();
    let environment = matcher.tok_env().unwrap();
    let tokens = environment.tokenize(text);
    let taken = matcher.try_consume_tokens(&tokens).unwrap();
    let bytes = tokens[..taken]
        .iter()
        .map(|token| environment.tok_trie().token(*token).len())
        .sum();
    (bytes, taken == tokens.len() && matcher.is_accepting().unwrap())
}

fn accepts(grammars: &Grammars, grammar: &Grammar, text: &str) -> bool {
    let mut constraint = grammars.compile(grammar).unwrap();
    taken(&mut constraint, text).1
}

/// A text made of tokens that the mask allows: any of them, or any of those that begin with a character drawn before, so that what is
/// rare comes too. None when it did not come to an end.
fn walk(constraint: &mut Constraint, seed: u64, most: usize) -> Option<String> {
    let matcher = constraint.matcher();
    let environment = matcher.tok_env().unwrap();
    let trie = environment.tok_trie();
    let kind = |token: u32| match trie.token(token).first() {
        Some(byte) if byte.is_ascii_alphabetic() => b'a',
        Some(byte) if byte.is_ascii_digit() => b'0',
        Some(byte) if *byte >= 128 => 128,
        Some(byte) => *byte,
        None => 0,
    };
    let mut random = StdRng::seed_from_u64(seed);
    let mut text = Vec::new();
    for step in 0..most {
        let mask = matcher.compute_mask_or_eos().unwrap();
        let may_end = mask.is_allowed(trie.eos_token());
        let mut fitting = Vec::new();
        mask.iter_set_entries(|token| fitting.push(token as u32));
        fitting.retain(|token| *token != trie.eos_token());
        if may_end && (fitting.is_empty() || step > most / 4 || random.random_bool(0.2)) {
            return Some(String::from_utf8(text).expect("a whole text is whole characters"));
        }
        assert!(
            !fitting.is_empty(),
            "stuck after {:?}",
            String::from_utf8_lossy(&text)
        );
        let mut kinds: Vec<u8> = fitting.iter().map(|token| kind(*token)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        // Late, whatever closes.
        let closing = b"\n)]}'\""
            .iter()
            .find(|byte| step > most / 5 && kinds.contains(byte));
        if closing.is_some() || random.random_bool(0.6) {
            let drawn = closing
                .copied()
                .unwrap_or_else(|| kinds[random.random_range(0..kinds.len())]);
            fitting.retain(|token| kind(*token) == drawn);
        }
        let token = fitting[random.random_range(0..fitting.len())];
        text.extend_from_slice(trie.token(token));
        matcher.consume_token(token).unwrap();
    }
    None
}

/// Walks through a grammar; every text that came to an end is judged by CPython; enough of them do.
fn check_walks(mut constraint: Constraint, count: u64, arguments: &[&str]) {
    let texts: Vec<String> = (0..count)
        .filter_map(|seed| walk(&mut constraint.again(), seed, 400))
        .collect();
    let refused = script("parses.py", arguments, &texts);
    assert!(
        refused.is_empty(),
        "{} of {} do not parse:\n{}",
        refused.len(),
        texts.len(),
        refused.join("\n")
    );
    assert!(
        texts.len() as u64 * 16 > count,
        "{} of {count} walks ended",
        texts.len()
    );
}

/// How many walks each test takes; BATOS_WALKS in the environment asks for more.
fn walks() -> u64 {
    let asked = std::env::var("BATOS_WALKS").ok();
    asked.map_or(400, |count| count.parse().expect("BATOS_WALKS is a number"))
}

#[test]
fn the_standard_library_is_let_through() {
    // BATOS_EVERY=1 takes all of them: some minutes.
    let every = std::env::var("BATOS_EVERY").unwrap_or_else(|_| "10".into());
    let functions = functions(&every);
    assert!(functions.len() > 500, "{} functions", functions.len());
    let mut constraint = seed().trusted(python::wide()).unwrap();
    let refused: Vec<&String> = functions
        .iter()
        .filter(|text| !taken(&mut constraint.again(), text).1)
        .collect();
    let share = 1.0 - refused.len() as f64 / functions.len() as f64;
    eprintln!(
        "{} functions, {:.2} % let through",
        functions.len(),
        share * 100.0
    );
    assert!(share >= 0.97, "{share}: {:?}", &refused[..refused.len().min(10)]);
}

#[test]
fn whatever_is_let_through_parses_with_the_seed_tokenizer() {
    check_walks(seed().trusted(python::wide()).unwrap(), walks(), &[]);
}

#[test]
fn whatever_is_let_through_parses_with_tokens_over_line_ends() {
    let grammars = trained(GPT_2);
    let constraint = grammars.trusted(python::wide()).unwrap();
    let spans = grammars
        .tokens()
        .iter()
        .any(|token| token.starts_with(b"\n    ") && token.len() > 8);
    assert!(spans, "no token spans a line's end and an indentation");
    check_walks(constraint, walks(), &[]);
}

#[test]
fn whatever_is_let_through_parses_with_tokens_as_of_llama_3() {
    check_walks(trained(LLAMA_3).trusted(python::wide()).unwrap(), walks(), &[]);
}

#[test]
fn a_method_is_the_one_asked_for() {
    let wish = wish();
    let arguments = ["add_to_tags", "1", "tags", "count", "object_id"];
    for grammars in [seed(), trained(GPT_2)] {
        check_walks(
            grammars.compile(&Grammar::Method(wish.clone())).unwrap(),
            walks(),
            &arguments,
        );
    }
}

#[test]
fn layout_and_names_decide_whatever_the_tokenizer() {
    let method = |body: &str| format!("def add_to_tags(self, tag):\n{body}");
    let good = [
        "    self.tags = self.tags + [tag]\n    self._p_changed = True\n",
        "    self.tags = [*self.tags, tag]\n    self._p_changed = True\n    return self.count",
        "    for x in self.tags:\n        if x == tag:\n            break\n        else:\n            pass\n    return f\"{self.count}: {tag!r:>3}\"\n",
        "    if not self.tags:\n        return None  # nothing\n\n    # the rest\n    return {\n        'a': 1,\n        'b': [1, 2],\n    }\n",
        "    return self[tag] + self.object_id(tag, name=1)\n",
        "    a, b = (1, 2)\n    a, = [b]\n    return lambda x: x is node\n",
    ];
    let bad = [
        // Layout.
        "        return 1\n",
        "    if tag:\n    return 1\n",
        "    if tag:\n        x = 1\n    y = 2\n        z = 3\n",
        "    for x in tag:\n        y = 1\n    else:\n        break\n",
        "    while tag:\n        if tag:\n            y = 1\n    continue\n",
        "    if tag:\n        if tag:\n            y = 1\n    elif tag:\n        y = 2\n            z = 3\n",
        "  return 1\n",
        "\treturn 1\n",
        // What does not parse.
        "    return (1\n",
        "    f() = 1\n",
        "    return a + not b\n",
        "    f(a=1, b)\n",
        "    return f'{'a'}'\n",
        "    return '\\x1'\n",
        "    return 007\n",
        "    return [*a == b]\n",
        // What the guard refuses.
        "    self.other = 1\n",
        "    return self._p_changed\n",
        "    return tag.__class__\n",
        "    import os\n",
        "    with tag:\n        pass\n",
        "    return '{}'.format(tag)\n",
        "    yield tag\n",
    ];
    for grammars in [seed(), trained(GPT_2), trained(LLAMA_3)] {
        let grammar = Grammar::Method(wish());
        for body in good {
            let mut constraint = grammars.compile(&grammar).unwrap();
            let text = method(body);
            let (bytes, is_whole) = taken(&mut constraint, &text);
            assert!(is_whole, "stopped after {:?}", &text[..bytes]);
        }
        for body in bad {
            assert!(
                !accepts(&grammars, &grammar, &method(body)),
                "{body:?} is let through"
            );
        }
        for head in [
            "def add_to_tag(self, tag)",
            "def add_to_tags(self)",
            "def add_to_tags(tag)",
            "def add_to_tags(self, a, b)",
        ] {
            assert!(
                !accepts(&grammars, &grammar, &format!("{head}:\n    pass\n")),
                "{head}"
            );
        }
        for head in [
            "def add_to_tags(self, tag: str=None)",
            "def add_to_tags(self, a, b=2) -> list[str] | None",
        ] {
            assert!(
                accepts(&grammars, &grammar, &format!("{head}:\n    pass\n")),
                "{head}"
            );
        }
    }
}

#[test]
fn a_refusal_is_a_token_where_there_is_one() {
    let wish = MethodGrammar {
        refusal: Some("<|refuse|>".into()),
        ..wish()
    };
    let grammars = seed();
    let mut constraint = grammars.compile(&Grammar::Method(wish.clone())).unwrap();
    let refuse = grammars.token("<|refuse|>").unwrap();
    let matcher = constraint.matcher();
    assert!(matcher.compute_mask().unwrap().is_allowed(refuse));
    assert!(matcher.consume_token(refuse).is_ok());
    assert!(
        matcher
            .compute_mask()
            .unwrap()
            .is_allowed(grammars.token("<|end|>").unwrap())
    );
    // Elsewhere it is text.
    assert!(accepts(
        &trained(GPT_2),
        &Grammar::Method(wish),
        "<|refuse|>no slot fits"
    ));
}

#[test]
fn json_keeps_to_its_schema() {
    let schema = r##"{"type": "object", "properties": {
        "archetype": {"enum": ["technical", "social"]},
        "facets": {"type": "array", "items": {"$ref": "#/$defs/facet"}, "maxItems": 3},
        "weight": {"type": "number", "minimum": 0, "maximum": 1}},
        "required": ["archetype", "facets"], "additionalProperties": false,
        "$defs": {"facet": {"type": "string", "maxLength": 12}}}"##;
    let grammar = Grammar::JsonSchema(schema.into());
    for grammars in [seed(), trained(GPT_2)] {
        let mut constraint = grammars.compile(&grammar).unwrap();
        let texts: Vec<String> = (0..200)
            .filter_map(|seed| walk(&mut constraint.again(), seed, 300))
            .collect();
        assert!(texts.len() > 100, "{}", texts.len());
        for text in texts {
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            let facets = document["facets"].as_array().unwrap();
            assert!(
                facets.len() <= 3
                    && facets
                        .iter()
                        .all(|facet| facet.as_str().unwrap().chars().count() <= 12),
                "{text}"
            );
            assert!(
                document["archetype"] == "technical" || document["archetype"] == "social",
                "{text}"
            );
            assert!(
                document
                    .get("weight")
                    .is_none_or(|weight| (0.0..=1.0).contains(&weight.as_f64().unwrap())),
                "{text}"
            );
        }
        assert!(accepts(
            &grammars,
            &grammar,
            r#"{"archetype": "social", "facets": ["a"]}"#
        ));
        assert!(!accepts(
            &grammars,
            &grammar,
            r#"{"archetype": "other", "facets": []}"#
        ));
    }
}

/// What is refused in bounded time, by a word of the reason.
#[test]
fn hostile_grammars_are_refused_soon() {
    let grammars = seed();
    let nested =
        |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times));
    let wide: Vec<String> = (0..60_000)
        .map(|at| format!("r{at}: \"a\" r{} | \"b\"", (at + 1) % 60_000))
        .collect();
    let doubling: Vec<String> = (0..60).map(|at| format!("r{at}: r{0} r{0}", at + 1)).collect();
    let hostile = [
        Grammar::Lark("x".repeat(2 << 20)),
        Grammar::Lark(String::new()),
        Grammar::Lark("start: nothing".into()),
        Grammar::Lark("start: start".into()),
        Grammar::Lark(format!("start: {}", nested("(", ")", 100_000))),
        Grammar::Lark(format!("start: /{}/", nested("(", ")", 60) + &"a{1,1000}{1,1000}".repeat(20))),
        Grammar::Lark("start: /((a{0,5000}){0,5000}){0,5000}/".into()),
        Grammar::Lark("start: A\nA: /[ab]*a[ab]{900}/ & /[ab]*b[ab]{901}/ & ~/[ab]*a[ab]{902}c/".into()),
        Grammar::Lark(format!("start: r0\n{}", wide.join("\n"))),
        Grammar::Lark(format!("start: r0\n{}\nr60: \"a\"", doubling.join("\n"))),
        Grammar::Lark("start: p::0x0\np::_ : q::set_bit(0)\nq::_ : p::_ \"a\" | \"b\"".into()),
        Grammar::Lark("start: <|nothing|>".into()),
        Grammar::JsonSchema("{".into()),
        Grammar::JsonSchema(nested("{\"not\":", "}", 100_000)),
        Grammar::JsonSchema(r#"{"$ref": "https://example.com/schema"}"#.into()),
        Grammar::JsonSchema(r##"{"$ref": "#"}"##.into()),
        Grammar::JsonSchema(r##"{"$ref": "#/$defs/gone"}"##.into()),
        Grammar::JsonSchema(r#"{"type": "string", "pattern": "((a{0,5000}){0,5000}){0,5000}"}"#.into()),
        Grammar::JsonSchema(r#"{"type": "array", "minItems": 4000000000, "items": {"type": "array", "minItems": 4000000000}}"#.into()),
        Grammar::JsonSchema(r#"{"type": "string", "minLength": 4000000000}"#.into()),
        Grammar::JsonSchema(r#"{"type": "integer", "multipleOf": 1000003, "minimum": 1}"#.into()),
        Grammar::Method(MethodGrammar { selector: "a b".into(), ..wish() }),
        Grammar::Method(MethodGrammar { arguments: u32::MAX, ..wish() }),
        Grammar::Method(MethodGrammar { slots: (0..5_000).map(|at| format!("s{at}")).collect(), ..wish() }),
    ];
    for grammar in hostile {
        let shown: String = format!("{grammar:?}").chars().take(100).collect();
        let begun = Instant::now();
        let compiled = grammars.compile(&grammar);
        let took = begun.elapsed();
        eprintln!("{took:?} {shown} -> {:?}", compiled.as_ref().err());
        assert!(took < Duration::from_secs(5), "{shown} took {took:?}");
        // What is not refused at once is bounded at each token.
        if let Ok(mut constraint) = compiled {
            let matcher = constraint.matcher();
            let begun = Instant::now();
            for _ in 0..20 {
                let Ok(mask) = matcher.compute_mask_or_eos() else {
                    break;
                };
                let mut first = None;
                mask.iter_set_entries(|token| first = first.or(Some(token as u32)));
                let Some(token) = first else { break };
                if matcher.consume_token(token).is_err() {
                    break;
                }
            }
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{shown} walked for {:?}",
                begun.elapsed()
            );
        }
    }
    // Afterwards it serves as before.
    assert!(accepts(
        &grammars,
        &Grammar::Method(wish()),
        "def add_to_tags(self, tag):\n    pass\n"
    ));
}
