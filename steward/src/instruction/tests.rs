use super::*;

const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn corpus() -> Value {
    serde_json::from_str(&include_str!("corpus.json").replace('H', HEX)).unwrap()
}

fn parse(document: &Value) -> Result<Instruction, Refusal> {
    Instruction::parse(document.to_string().as_bytes())
}

#[test]
fn a_good_instruction_is_read() {
    let text = format!(
        r#" {{"schema":1,"id":"a.B_c-9","sequence":7,"expires":99,
             "target":{{"kind":"kernel","path":"/opt/kernel","sha256":"{}"}}}} "#,
        HEX.to_uppercase()
    );
    let form_1 = Instruction {
        id: "a.B_c-9".into(),
        sequence: Some(7),
        created_unix: None,
        expires_unix: Some(99),
        target: Target {
            kind: Kind::Kernel,
            path: "/opt/kernel".into(),
            digest: Digest::Sha256(HEX.into()),
            format: None,
            allow: Vec::new(),
        },
        base: None,
        steps: Vec::new(),
        limits: Limits::default(),
        health_within: None,
        probation: None,
        bounds: Bounds::default(),
        keep: 1,
        image: None,
        is_again: false,
    };
    assert_eq!(Instruction::parse(text.as_bytes()), Ok(form_1));
    let form_2 = parse(&corpus()["good"][4]).unwrap();
    let command = ["/bin/true", "", "a b"].map(str::to_owned).to_vec();
    assert_eq!(
        form_2.steps,
        [
            Action::Verify,
            Action::Backup("/b".into()),
            Action::Command(command)
        ]
    );
    assert_eq!(form_2.limits.step, Duration::from_secs(3600));
    assert_eq!(
        (form_2.health_within, form_2.keep),
        (Some(Duration::from_secs(5)), 16)
    );
}

#[test]
fn the_corpus_is_judged() {
    for document in corpus()["good"].as_array().unwrap() {
        assert_eq!(parse(document).err(), None, "{document}");
    }
    for case in corpus()["bad"].as_array().unwrap() {
        let refusal = parse(&case[1]).unwrap_err();
        assert_eq!(case[0], refusal.reason, "{case}: {}", refusal.message);
    }
}

#[test]
fn what_only_bytes_can_say_is_refused() {
    let target = format!(r#"{{"kind":"kernel","path":"/k","blake3":"{HEX}"}}"#);
    for (text, reason) in [
        ("", "malformed"),
        ("   ", "malformed"),
        ("\u{feff}{}", "malformed"),
        ("null", "malformed"),
        ("[]", "malformed"),
        ("\"text\"", "malformed"),
        ("{", "malformed"),
        (r#"{"schema":1,"id":"a","target":{"kind":"ker"#, "malformed"),
        (r#"{"schema":1,"id":"a","target":TARGET"#, "malformed"),
        (r#"{"schema":1,"id":"a","target":TARGET}}"#, "malformed"),
        (r#"{"schema":1,"id":"a","target":TARGET}{}"#, "malformed"),
        (r#"{"schema":1,"id":"a","target":TARGET,}"#, "malformed"),
        (r#"{'schema':1}"#, "malformed"),
        (r#"{"schema":NaN}"#, "malformed"),
        (r#"{"schema":1.0,"id":"a","target":TARGET}"#, "bad_value"),
        (
            r#"{"schema":1,"id":"a","sequence":1e3,"target":TARGET}"#,
            "bad_value",
        ),
        (
            r#"{"schema":2,"id":"a","created":5,"expires":5,"target":{"kind":"kernel","path":"/k","digest":"blake3:HEX"}}"#,
            "bad_value",
        ),
        (
            r#"{"schema":1,"id":"a","id":"a","target":TARGET}"#,
            "duplicate_key",
        ),
        (
            r#"{"schema":1,"id":"a","target":{"kind":"kernel","kind":"kernel"}}"#,
            "duplicate_key",
        ),
        (
            r#"{"schema":1,"id":"a","x":[{"y":1,"y":1}],"target":TARGET}"#,
            "duplicate_key",
        ),
    ] {
        let text = text.replace("TARGET", &target).replace("HEX", HEX);
        let refusal = Instruction::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, reason, "{text}: {}", refusal.message);
    }
}

#[test]
fn bytes_that_are_no_text_and_text_without_end_are_refused() {
    let refused = |bytes: &[u8]| Instruction::parse(bytes).unwrap_err();
    assert_eq!(refused(&[0xFF, 0xFE, 0x00]).reason, "malformed");
    assert_eq!(refused(&[b'x'; LARGEST_BYTES + 1]).reason, "too_large");
    assert_eq!(refused("[".repeat(60_000).as_bytes()).reason, "malformed");
    assert!(refused(br#"{"schema":1"#).message.contains("written to its end"));
    assert_eq!(
        refused(br#"{"schema":9,"id":"known"}"#).id.as_deref(),
        Some("known")
    );
}

/// `docs/upgrade.schema.json` and the code say the same of the corpus, and of every good document of it with any one
/// value left out, replaced or added.
#[test]
fn the_schema_and_the_code_agree() {
    let schema = schema::Schema::new(include_str!("../../../docs/upgrade.schema.json"));
    let mut documents: Vec<Value> = corpus()["bad"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case[1].clone())
        .collect();
    for good in corpus()["good"].as_array().unwrap() {
        documents.push(good.clone());
        change(good, &mut |changed| documents.push(changed));
    }
    let mut good = 0;
    for document in &documents {
        let is_good = match parse(document) {
            Ok(_) => true,
            // The one rule between two values, which no schema can say.
            Err(refusal) => refusal.message.contains("larger than created"),
        };
        assert_eq!(schema.is_valid(document), is_good, "{document}");
        good += usize::from(is_good);
    }
    assert!(
        documents.len() > 500 && good > 50,
        "{good} of {}",
        documents.len()
    );
}

/// Calls with every document that differs from this one in one place.
fn change(document: &Value, found: &mut dyn FnMut(Value)) {
    let others: Vec<Value> = serde_json::from_str(
        r#"[null, true, -1, 0, 1, 2, 51, 1.5, 1e300, 9223372036854775807, 9223372036854775808, "", "a", "/", "k/", "kernel",
            [], ["/x"], [1], {}, {"do":"verify"}, {"x":1}]"#,
    )
    .unwrap();
    others.into_iter().for_each(&mut *found);
    match document {
        Value::Object(map) => {
            for key in map.keys() {
                let mut without = map.clone();
                without.remove(key);
                found(Value::Object(without));
                change(&map[key], &mut |value| {
                    let mut changed = map.clone();
                    changed[key] = value;
                    found(Value::Object(changed));
                });
            }
            let mut more = map.clone();
            more.insert("other".into(), Value::Null);
            found(Value::Object(more));
        }
        Value::Array(list) => {
            for at in 0..list.len() {
                change(&list[at], &mut |value| {
                    let mut changed = list.clone();
                    changed[at] = value;
                    found(Value::Array(changed));
                });
            }
        }
        _ => {}
    }
}
