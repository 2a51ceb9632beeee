//! Views of objects: thought out by scripted personas, or drawn without a model; nothing unsafe is kept, and nothing is left of what fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};
use shared::inference::Grammar;

use crate::harness::{System, number, slot_names, text};
use crate::scripted::{Act, Asked, Scripted};

/// What a model is asked for on the way to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Needs,
    Structure,
    Layout,
    Verdict,
}

impl Part {
    fn of(asked: &Asked) -> Part {
        match &asked.grammar {
            Some(Grammar::JsonSchema(schema)) if schema.contains("\"accent\"") => Part::Layout,
            Some(Grammar::JsonSchema(schema)) if schema.contains("\"display\"") => Part::Structure,
            Some(Grammar::JsonSchema(_)) => Part::Verdict,
            _ => Part::Needs,
        }
    }
}

fn structure() -> Json {
    json!({"groups": [
        {"name": "At a glance", "slots": [{"slot": "balance", "display": "number"}, {"slot": "note", "display": "text"}]},
        {"name": "Over time", "slots": [{"slot": "monthly", "display": "chart"}]},
    ]})
}

fn layout() -> Json {
    json!({"title": "Ada's savings", "lead": "How it has grown.", "accent": "moss", "groups": [
        {"name": "Over time", "emphasis": "normal", "slots": [{"slot": "monthly", "label": "Month by month", "chart": "line"}]},
        {"name": "At a glance", "emphasis": "lead", "slots": [
            {"slot": "note", "label": "A note", "chart": "line"}, {"slot": "balance", "label": "What is there", "chart": "line"}]},
    ]})
}

fn good(asked: &Asked) -> String {
    match Part::of(asked) {
        Part::Needs => "The balance first, then how it came to be.".into(),
        Part::Structure => structure().to_string(),
        Part::Layout => layout().to_string(),
        Part::Verdict => json!({"verdict": "pass", "reason": "it serves"}).to_string(),
    }
}

const POISON: &str = "<script>alert('IGNORE')</script> & \"so\"";

fn account(system: &System) -> String {
    let note = format!("note={}", json!(POISON));
    let made = system.ok(&[
        "new",
        "traits",
        "balance=12345",
        &note,
        "monthly=[1,2.5,4]",
        "spare=true",
        "--name",
        "account",
    ]);
    text(&made["object"]).to_owned()
}

fn states(system: &System, thought: &Json) -> Vec<String> {
    let told = system.ok(&["thoughts", &thought.to_string()])["thoughts"][0].clone();
    let events = told["events"].as_array().unwrap().clone();
    let moved = events.iter().filter(|event| event["kind"] == "STATE_TRANSITION");
    moved.map(|event| text(&event["state"]).to_owned()).collect()
}

fn at(html: &str, needle: &str) -> usize {
    html.find(needle).unwrap_or_else(|| panic!("{needle} in {html}"))
}

#[test]
fn a_model_that_writes_methods_alone_is_not_asked() {
    let scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    let system = &scripted.system;
    let ada = system.ok(&["new", "traits", r#"name="Ada""#])["object"].clone();
    let slots = [
        "balance=-1234567.5".to_owned(),
        format!("owner={}", json!({ "$ref": ada })),
        format!("note={}", json!(POISON)),
        "flag=false".into(),
        "empty=[]".into(),
        "series=[3,1,2]".into(),
        r#"rows=[{"a":1,"b":"x"},{"a":2}]"#.into(),
        r#"prefs={"deep":{"deeper":{"deepest":{"more":1}}}}"#.into(),
        r#"when={"$time":"2026-11-21T01:22:10Z"}"#.into(),
        r#"raw={"$bytes":"00ff"}"#.into(),
        format!("odd={}", json!("a\u{0}b\u{1b}[31m\u{ffff}\u{202e}")),
    ];
    let mut words = vec!["new", "traits", "--name", "thing"];
    words.extend(slots.iter().map(String::as_str));
    system.ok(&words);
    let file = system.folder().join("thing.html");
    let shown = system.ok(&["view", "thing", "--out", &file.display().to_string()]);
    assert_eq!(
        (&shown["workflow"], &shown["drawn_by"]),
        (&json!("view_plain"), &json!([]))
    );
    assert_eq!(
        states(system, &shown["thought"]),
        ["idle", "deriving", "assembling", "shown"]
    );
    let html = std::fs::read_to_string(&file).unwrap();
    assert!(
        html.contains("&lt;script&gt;alert(&#39;IGNORE&#39;)&lt;/script&gt; &amp; &quot;so&quot;"),
        "{html}"
    );
    assert!(!html.contains("<script"), "{html}");
    assert!(html.contains("no model took part"), "{html}");
    for words in [
        "-1,234,567.5",
        "Ada (",
        ">no<",
        "<svg ",
        "<table>",
        "2026-11-21 01:22:10 UTC",
        "2 bytes",
        "␀",
    ] {
        at(&html, words);
    }
    let id = text(&ada).trim_start_matches('#');
    assert!(at(&html, &format!("href=\"#o{id}\"")) < at(&html, &format!("id=\"o{id}\"")));
    // The slots stand in their order.
    let labels = [
        "balance", "owner", "note", "flag", "series", "rows", "prefs", "when", "raw",
    ];
    let places: Vec<usize> = labels
        .iter()
        .map(|label| at(&html, &format!(">{label}</h3>")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let svg = system.folder().join("thing.svg");
    let again = system.ok(&["view", "thing", "--svg", "--out", &svg.display().to_string()]);
    assert_eq!(
        (&again["thought"], &again["transaction"]),
        (&Json::Null, &shown["transaction"])
    );
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.contains("no model took part"),
        "{svg}"
    );
    assert!(!svg.contains("<script"), "{svg}");
    assert!(scripted.asked().is_empty());
    // No words of the model's workflow are put in its place.
    let refused = system.refused(&["view", "thing", "--workflow", "view"], "not_understood");
    assert!(
        text(&refused["message"]).contains("cannot do what the workflow view needs"),
        "{refused}"
    );
    system.refused(&["view", "thing", "--workflow", "full"], "not_understood");
    system.refused(&["view", "nobody"], "no_object");
}

#[test]
fn a_view_follows_its_object_and_can_be_taken_back() {
    let scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    let system = &scripted.system;
    account(system);
    let first = system.ok(&["view", "account"]);
    assert!(text(&first["html"]).contains("12,345"));
    assert_eq!(
        system.ok(&["view", "account"])["transaction"],
        first["transaction"]
    );
    system.ok(&["set", "account", "balance", "777"]);
    let second = system.ok(&["view", "account"]);
    assert!(text(&second["html"]).contains(">777<") && second["record"] == first["record"]);
    // Undo brings the drawing before back, and what is not current is drawn again.
    system.ok(&["undo", &second["transaction"].to_string()]);
    assert!(text(&system.inspect(text(&first["record"]))["slots"]["html"]["value"]).contains("12,345"));
    assert!(text(&system.ok(&["view", "account"])["html"]).contains(">777<"));
    // A clone is another object, whatever its slots say.
    let copy = system.result(&["send", "account", "clone"])["$ref"].clone();
    system.ok(&["set", text(&copy), "balance", "888"]);
    let other = system.ok(&["view", text(&copy)]);
    assert!(other["record"] != first["record"] && text(&other["html"]).contains(">888<"));
    assert_eq!(system.ok(&["view", "account"])["record"], first["record"]);
    // What is inherited is shown, and a change of it is seen.
    let child = system.ok(&["new", "account"])["object"].clone();
    assert!(text(&system.ok(&["view", text(&child)])["html"]).contains(">777<"));
    system.ok(&["set", "account", "balance", "999"]);
    assert!(text(&system.ok(&["view", text(&child)])["html"]).contains(">999<"));
}

#[test]
fn much_is_cut_and_counted() {
    let scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    let system = &scripted.system;
    let file = |name: &str, value: Json| {
        let path = system.folder().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        format!("{name}=@{}", path.display())
    };
    let slots = [
        file("words", (0..10_000).map(|at| format!("item {at}")).collect()),
        file(
            "rows",
            (0..10_000)
                .map(|at| json!({"n": at, "square": at * at}))
                .collect(),
        ),
        file("numbers", (0..10_000).map(|at| at % 97).collect()),
        file("long", json!("lorem ipsum ".repeat(20_000))),
    ];
    let mut words = vec!["new", "ordered_map", "--name", "large"];
    words.extend(slots.iter().map(String::as_str));
    system.ok(&words);
    system.defined(
        "large",
        "def fill(self):\n    for at in range(300):\n        self[at] = \"entry \" + str(at)\n    self._p_changed = True\n",
    );
    system.ok(&["send", "large", "fill"]);
    let shown = system.ok(&["view", "large"]);
    let html = text(&shown["html"]);
    for words in [
        "and 9900 more of 10,000",
        "the first 100 of 10,000 rows",
        "10,000 values from 0 to 96",
        "and 236,000 more characters",
        "the first 100 of 300 entries",
        "item 99<",
        "entry 99<",
    ] {
        at(html, words);
    }
    assert!(!html.contains("item 100<") && !html.contains("entry 100<"));
    assert!(html.len() < 200_000 && text(&shown["svg"]).len() < 100_000);
    // When an entry changed is not known, so an object with entries is always drawn again.
    assert!(!system.ok(&["view", "large"])["thought"].is_null());
    let empty = system.ok(&["new", "traits"])["object"].clone();
    at(
        text(&system.ok(&["view", text(&empty)])["html"]),
        "no slots of its own",
    );
}

#[test]
fn the_personas_think_a_view_out_once() {
    let scripted = Scripted::speaking(|asked| Act::Say(good(asked)));
    let system = &scripted.system;
    let object = account(system);
    system.ok(&["set", "account", "comment", "\"What Ada has put aside.\""]);
    system.ok(&["set", "account", "wishes", r#"{"view": "large figures"}"#]);
    let shown = system.ok(&["view", "account"]);
    assert_eq!(
        states(system, &shown["thought"]),
        [
            "idle",
            "gathering",
            "structuring",
            "arranging",
            "assembling",
            "shown"
        ]
    );
    assert_eq!(shown["drawn_by"], json!(["BABS", "BRICK", "ROBIN", "ALFRED"]));
    let asked = scripted.asked();
    let parts: Vec<Part> = asked.iter().map(Part::of).collect();
    assert_eq!(parts, [Part::Needs, Part::Structure, Part::Layout, Part::Verdict]);
    let voices = [
        "Exact and brisk",
        "Short sentences",
        "Warm, plain",
        "Guards the covenants",
    ];
    for (ask, voice) in asked.iter().zip(voices) {
        assert!(ask.messages[0].content.contains(voice), "{:?}", ask.messages[0]);
        // Slots are told by name, kind and size; never what stands in them.
        assert!(ask.words().contains("- balance: int"), "{}", ask.words());
        assert!(
            !ask.words().contains("IGNORE") && !ask.words().contains("12345"),
            "{}",
            ask.words()
        );
    }
    for words in ["What Ada has put aside.", "large figures"] {
        assert!(asked[0].words().contains(words), "{}", asked[0].words());
    }
    assert!(
        asked[1].words().contains("babs.sources says:\nThe balance first"),
        "{}",
        asked[1].words()
    );
    let html = text(&shown["html"]);
    at(html, "<h1 dir=\"auto\">Ada&#39;s savings</h1>");
    at(html, "<body class=\"moss\">");
    assert!(
        at(html, "Month by month") < at(html, "A note") && at(html, "A note") < at(html, "What is there")
    );
    at(html, "Thought by BABS, BRICK, ROBIN, ALFRED in the workflow view");
    at(html, "Not shown: spare");
    at(html, "&lt;script&gt;alert(");
    assert!(!html.contains("<script"));
    // The object has one slot more, and the thought is in its history.
    let slots = slot_names(&system.inspect("account"));
    assert_eq!(slots.last().unwrap(), "view_record");
    let history = system.ok(&["history", "account", "view_record"]);
    assert_eq!(history["transactions"][0]["thought"], shown["thought"]);
    // The next view costs nothing; another state of the object costs no question.
    assert_eq!(system.ok(&["view", "account"])["thought"], Json::Null);
    system.ok(&["set", "account", "balance", "777"]);
    let again = system.ok(&["view", &object]);
    assert_eq!(
        states(system, &again["thought"]),
        ["idle", "gathering", "assembling", "shown"]
    );
    assert!(text(&again["html"]).contains(">777<") && text(&again["html"]).contains("Month by month"));
    assert_eq!(scripted.asked().len(), 4);
    // What was thought does not fit any more: it is thought about anew; so is what is to be fresh.
    system.ok(&["set", "account", "monthly", "\"none yet\""]);
    system.refused(&["view", "account"], "not_understood");
    system.ok(&["set", "account", "monthly", "[5,6,7]"]);
    let before = scripted.asked().len();
    system.ok(&["view", "account", "--fresh"]);
    assert_eq!(scripted.asked().len(), before + 4);
    // By hand without the model, and back.
    assert_eq!(
        system.ok(&["view", "account", "--workflow", "view_plain"])["drawn_by"],
        json!([])
    );
}

/// Whatever the model writes: it is shown as text, or the view does not come to be and nothing is left of it.
#[test]
fn nothing_is_left_of_a_view_that_fails() {
    let says: Arc<std::sync::Mutex<Option<(Part, String)>>> = Arc::default();
    let script = says.clone();
    let scripted = Scripted::speaking(move |asked| match &*script.lock().unwrap() {
        Some((part, text)) if *part == Part::of(asked) => Act::Say(text.clone()),
        _ => Act::Say(good(asked)),
    });
    let system = &scripted.system;
    account(system);
    let mut unknown = structure();
    unknown["groups"][0]["slots"][0]["slot"] = json!("parents");
    let mut twice = structure();
    twice["groups"][1]["slots"][0] = json!({"slot": "note", "display": "text"});
    let mut unfit = structure();
    unfit["groups"][0]["slots"][0]["display"] = json!("chart");
    let mut same = structure();
    same["groups"][1]["name"] = json!("At a glance");
    let mut less = layout();
    less["groups"][1]["slots"].as_array_mut().unwrap().pop();
    let mut more = layout();
    more["script"] = json!("alert(1)");
    let mut accent = layout();
    accent["accent"] = json!("url(javascript:alert(1))");
    let refuse = json!({"verdict": "refuse", "reason": "it hides the spare"});
    let before = system.ok(&["digest"])["digest"].clone();
    for (part, said, named) in [
        (Part::Structure, unknown.to_string(), "parents"),
        (Part::Structure, twice.to_string(), "twice"),
        (Part::Structure, unfit.to_string(), "cannot be displayed as chart"),
        (Part::Structure, same.to_string(), "two groups"),
        (Part::Structure, "{\"groups\": [".into(), "no JSON"),
        (
            Part::Structure,
            json!({"groups": [{"$ref": "#2"}]}).to_string(),
            "no structure",
        ),
        (
            Part::Structure,
            "<html><script>alert(1)</script></html>".into(),
            "no JSON",
        ),
        (Part::Layout, less.to_string(), "each once"),
        (Part::Layout, more.to_string(), "script"),
        (Part::Layout, accent.to_string(), "javascript"),
        (
            Part::Verdict,
            refuse.to_string(),
            "ALFRED refused it: it hides the spare",
        ),
        (Part::Verdict, "fine by me".into(), "no review"),
    ] {
        *says.lock().unwrap() = Some((part, said.clone()));
        let asked = scripted.asked().len();
        let fault = system.refused(&["view", "account"], "not_understood");
        assert!(text(&fault["message"]).contains(named), "{said}: {fault}");
        assert!(
            text(&fault["message"]).starts_with("no view of account came to be"),
            "{fault}"
        );
        // Three rounds, and each of the later ones was told what was wrong.
        let rounds = scripted.asked()[asked..].to_vec();
        let needs: Vec<&Asked> = rounds.iter().filter(|ask| Part::of(ask) == Part::Needs).collect();
        assert_eq!(needs.len(), 3, "{said}");
        assert!(
            needs[1].words().contains("An earlier attempt failed"),
            "{}",
            needs[1].words()
        );
        assert_eq!(system.ok(&["digest"])["digest"], before, "{said}");
    }
    // Markup in words that are free is text.
    let mut hostile = layout();
    hostile["title"] = json!("</title><script>alert(1)</script>");
    hostile["lead"] = json!("<img src=x onerror=alert(1)> javascript:alert(1)");
    hostile["groups"][0]["slots"][0]["label"] = json!("\"><a href='javascript:alert(1)'>");
    *says.lock().unwrap() = Some((Part::Layout, hostile.to_string()));
    let shown = system.ok(&["view", "account"]);
    for form in ["html", "svg"] {
        let drawn = text(&shown[form]);
        for bad in ["<script", "<img", "href='", "href=\"java"] {
            assert!(!drawn.contains(bad), "{bad} in {drawn}");
        }
        at(drawn, "&lt;/title&gt;&lt;script&gt;");
    }
    system.ok(&["verify"]);
}

/// The objects that draw are the image's own, and anybody may change them: the kernel's check stands behind them.
#[test]
fn what_is_not_safe_is_neither_kept_nor_handed_out() {
    let scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    let system = &scripted.system;
    account(system);
    let method = |name: &str, body: &str| json!({ "$method": format!("def {name}{body}") }).to_string();
    for (object, slot, source, named) in [
        (
            "views",
            "escaped",
            "(self, value):\n    return str(value)\n",
            "no script may stand in",
        ),
        (
            "views.page",
            "drawn",
            "(self, object, sections, layout, about):\n    return \"<p>x</p>\"\n",
            "does not begin with",
        ),
        (
            "states.assembling",
            "_process_synthesis_",
            "(self, event, payload):\n    self.html = \"<p onclick='x()'>\"\n    self._p_changed = True\n    return self.advance()\n",
            "did not pass the check",
        ),
        (
            "states.deriving",
            "_process_synthesis_",
            "(self, event, payload):\n    self.facts = []\n    self._p_changed = True\n    return self.transition_to(\"shown\")\n",
            "undeclared transition",
        ),
    ] {
        let set = system.ok(&["set", object, slot, &method(slot, source)]);
        let before = system.ok(&["digest"])["digest"].clone();
        let fault = system.refused(&["view", "account"], "not_understood");
        assert!(text(&fault["message"]).contains(named), "{object}: {fault}");
        assert_eq!(system.ok(&["digest"])["digest"], before, "{object}");
        system.ok(&["undo", &set["transaction"].to_string()]);
    }
    let shown = system.ok(&["view", "account"]);
    let html = text(&shown["html"]).replace("</main>", "<script>alert(1)</script></main>");
    system.ok(&["set", text(&shown["record"]), "html", &json!(html).to_string()]);
    let fault = system.refused(&["view", "account"], "view_refused");
    assert!(text(&fault["message"]).contains("--fresh"), "{fault}");
    assert_eq!(
        text(&system.ok(&["view", "account", "--fresh"])["html"]),
        text(&shown["html"])
    );
}

#[test]
fn a_home_without_any_model_draws_views_and_says_why_it_writes_no_methods() {
    let system = System::without_model().up();
    account(&system);
    let shown = system.ok(&["view", "account"]);
    assert_eq!(
        (&shown["workflow"], &shown["drawn_by"]),
        (&json!("view_plain"), &json!([]))
    );
    let missed = system.batos(&["send", "account", "deposit", "5"]);
    assert_eq!(missed.document["reason"], "no_model", "{missed:?}");
    assert!(
        text(&missed.document["message"]).contains("put a model there"),
        "{missed:?}"
    );
}

/// Another row of the matrix is another cast, without code.
#[test]
fn the_codex_says_who_takes_part() {
    let scripted = Scripted::speaking(|asked| Act::Say(good(asked)));
    let system = &scripted.system;
    account(system);
    let codex = text(&system.ok(&["codex", "export"])["codex"]).to_owned();
    let (head, row) = codex.split_at(codex.find("archetype = \"design of a view\"").unwrap());
    let begun = row.find("facets = [").unwrap();
    let ended = begun + row[begun..].find(']').unwrap();
    let cast = "facets = [\"alfred.economy\", \"robin.wonder\", \"brick.parts\", \"babs.sources\"";
    let codex = format!("{head}{}{cast}{}", &row[..begun], &row[ended..]);
    let file = system.folder().join("codex.toml");
    std::fs::write(&file, codex).unwrap();
    system.ok(&["codex", "import", &file.display().to_string()]);
    let shown = system.ok(&["view", "account"]);
    assert_eq!(shown["drawn_by"], json!(["ALFRED", "ROBIN", "BRICK"]));
    let asked = scripted.asked();
    assert_eq!(asked.len(), 5);
    // The fourth facet is asked with the first.
    let sources = asked
        .iter()
        .filter(|ask| ask.messages[0].content.contains("Which facts decide this?"));
    assert!(sources.clone().count() == 1 && sources.clone().all(|ask| Part::of(ask) == Part::Needs));
    let structure = asked.iter().find(|ask| Part::of(ask) == Part::Structure).unwrap();
    assert!(
        structure.words().contains("babs.sources says:"),
        "{}",
        structure.words()
    );
    let described = system.ok(&["workflow", "show", "view"])["workflow"]["states"].clone();
    let personas: Vec<&str> = described
        .as_array()
        .unwrap()
        .iter()
        .map(|state| text(&state["persona"]))
        .collect();
    assert_eq!(personas[1..5], ["ALFRED", "ROBIN", "BRICK", "ALFRED"]);
}

/// A mission for a view is as durable as any other.
#[test]
fn a_view_survives_a_kill() {
    let is_silent = Arc::new(AtomicBool::new(true));
    let silence = is_silent.clone();
    let mut scripted = Scripted::speaking(move |asked| {
        match Part::of(asked) == Part::Layout && silence.load(Ordering::SeqCst) {
            true => Act::Silence,
            false => Act::Say(good(asked)),
        }
    });
    account(&scripted.system);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "view", "params": {"object": "account"}});
    let mut socket = scripted.system.socket();
    std::io::Write::write_all(&mut socket, format!("{call}\n").as_bytes()).unwrap();
    crate::harness::until("the layout is asked for", || {
        let asked = scripted.asked();
        asked
            .iter()
            .any(|ask| Part::of(ask) == Part::Layout)
            .then_some(())
    });
    scripted.kill();
    is_silent.store(false, Ordering::SeqCst);
    scripted.start();
    let system = &scripted.system;
    crate::harness::until("the mission is over", || {
        let reply = system.batos(&["missions"]);
        (reply.document["missions"] == json!([])).then_some(())
    });
    let shown = system.ok(&["view", "account"]);
    // It is the mission of before the kill that made it; who asks early joins it.
    let thoughts = system.ok(&["thoughts"])["thoughts"].clone();
    assert_eq!(thoughts.as_array().unwrap().len(), 1, "{thoughts}");
    assert_eq!(shown["drawn_by"], json!(["BABS", "BRICK", "ROBIN", "ALFRED"]));
    assert_eq!(
        number(&shown["transaction"]),
        number(&system.ok(&["status"])["kernel"]["last_transaction"])
    );
}
