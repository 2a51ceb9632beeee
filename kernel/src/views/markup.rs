//! What a page or a picture may consist of (`docs/views.md`). Whoever wrote it: nothing else is kept, and nothing else is handed out.
//!
//! It is read twice. As XML, against the tables below: elements, where each may stand, attributes and what each may hold. A page then once
//! more by HTML's own rules: a browser must understand every tag, attribute and text of it in the same way, or it is refused.

use std::collections::{BTreeMap, BTreeSet};

use html5gum::{DefaultEmitter, Token, Tokenizer};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The longest page, and the longest picture.
pub const MOST_BYTES: usize = 4 << 20;
/// How deep elements may nest.
const MOST_DEPTH: usize = 64;
const DOCTYPE: &str = "<!DOCTYPE html>\n";
/// The one policy that a page may have, and must: nothing runs, nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const SVG: &str = "http://www.w3.org/2000/svg";
/// What a style may not say: it would fetch something, or hide such a thing from this list.
const UNSTYLISH: [&str; 9] = [
    "url",
    "import",
    "image",
    "src",
    "expression",
    "behavior",
    "binding",
    "\\",
    "<",
];

/// An element: where it may stand, and its attributes besides `class`, `id` and `dir`.
struct Element {
    name: &'static str,
    within: &'static [&'static str],
    attributes: &'static [&'static str],
}

const fn element(
    name: &'static str,
    within: &'static [&'static str],
    attributes: &'static [&'static str],
) -> Element {
    Element {
        name,
        within,
        attributes,
    }
}

const BLOCKS: &[&str] = &[
    "main", "header", "section", "article", "div", "footer", "li", "dd", "td",
];
const WORDS: &[&str] = &[
    "p", "h1", "h2", "h3", "div", "li", "dt", "dd", "th", "td", "span", "a",
];
const SHAPES: &[&str] = &["svg", "g"];

const PAGE: &[Element] = &[
    element("html", &[""], &[]),
    element("head", &["html"], &[]),
    element("meta", &["head"], &["charset", "name", "content", "http-equiv"]),
    element("title", &["head", "svg"], &[]),
    element("style", &["head"], &[]),
    element("body", &["html"], &[]),
    element("main", &["body"], &[]),
    element("header", &["main"], &[]),
    element("section", &["main"], &[]),
    element("footer", &["main"], &[]),
    element("div", BLOCKS, &[]),
    element("article", BLOCKS, &[]),
    element("h1", BLOCKS, &[]),
    element("h2", BLOCKS, &[]),
    element("h3", BLOCKS, &[]),
    element("p", BLOCKS, &[]),
    element("span", WORDS, &[]),
    element("time", WORDS, &[]),
    element(
        "a",
        &["p", "div", "li", "dt", "dd", "th", "td", "span"],
        &["href"],
    ),
    element("table", BLOCKS, &[]),
    element("thead", &["table"], &[]),
    element("tbody", &["table"], &[]),
    element("tr", &["thead", "tbody"], &[]),
    element("th", &["tr"], &[]),
    element("td", &["tr"], &[]),
    element("ol", BLOCKS, &[]),
    element("li", &["ol"], &[]),
    element("dl", BLOCKS, &[]),
    element("dt", &["dl"], &[]),
    element("dd", &["dl"], &[]),
    element("svg", BLOCKS, &["viewBox", "role"]),
];

const PICTURE: &[Element] = &[
    element("svg", &[""], &["xmlns", "viewBox", "width", "height", "role"]),
    element("title", &["svg"], &[]),
    element("style", &["svg"], &[]),
];

/// Of a picture, and of a picture in a page.
const SHAPED: &[Element] = &[
    element("g", SHAPES, &["transform"]),
    element(
        "rect",
        SHAPES,
        &["x", "y", "width", "height", "rx", "fill", "opacity"],
    ),
    element("circle", SHAPES, &["cx", "cy", "r", "fill", "opacity"]),
    element("line", SHAPES, &["x1", "y1", "x2", "y2", "stroke"]),
    element("path", SHAPES, &["d", "fill", "stroke", "opacity"]),
    element("polyline", SHAPES, &["points", "fill", "stroke"]),
    element("text", SHAPES, &["x", "y", "text-anchor", "font-size", "fill"]),
];

/// Why a page or a picture is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{form}, byte {byte}: {what}")]
pub struct Unsafe {
    form: &'static str,
    /// Of the text, about where it stands.
    byte: u64,
    what: String,
}

/// Whether a page of HTML may be kept and shown.
pub fn check_page(html: &str) -> Result<(), Unsafe> {
    let rest = html.strip_prefix(DOCTYPE);
    let rest = rest.ok_or_else(|| unsafe_at("page", 0, "it does not begin with <!DOCTYPE html>"))?;
    let mut walk = Walk::new("page", PAGE);
    walk.read(rest)?;
    if !walk.has_policy {
        return Err(unsafe_at("page", 0, "it has no policy that lets nothing run"));
    }
    match as_html(rest) == walk.told {
        true => Ok(()),
        false => Err(unsafe_at("page", 0, "a browser would read it in another way")),
    }
}

/// The same of a picture.
pub fn check_picture(svg: &str) -> Result<(), Unsafe> {
    Walk::new("picture", PICTURE).read(svg)
}

fn unsafe_at(form: &'static str, byte: u64, what: impl Into<String>) -> Unsafe {
    let what = what.into();
    Unsafe { form, byte, what }
}

/// What a reader of the text is told, so that two readers can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Begin(String, BTreeMap<String, String>),
    End(String),
    Text(String),
}

/// One reading as XML.
struct Walk {
    form: &'static str,
    own: &'static [Element],
    /// The elements around what is read now.
    open: Vec<String>,
    ids: BTreeSet<String>,
    /// Ids that links lead to, and where.
    wanted: Vec<(String, u64)>,
    has_policy: bool,
    told: Vec<Told>,
}

impl Walk {
    fn new(form: &'static str, own: &'static [Element]) -> Walk {
        Walk {
            form,
            own,
            open: Vec::new(),
            ids: BTreeSet::new(),
            wanted: Vec::new(),
            has_policy: false,
            told: Vec::new(),
        }
    }

    fn read(&mut self, text: &str) -> Result<(), Unsafe> {
        if text.len() > MOST_BYTES {
            let what = format!("it has {} bytes; {MOST_BYTES} are allowed", text.len());
            return Err(unsafe_at(self.form, 0, what));
        }
        let mut reader = Reader::from_str(text);
        reader.config_mut().enable_all_checks(true);
        loop {
            let at = reader.buffer_position();
            let refused = |what: String| unsafe_at(self.form, at, what);
            match reader.read_event().map_err(|error| refused(error.to_string()))? {
                Event::Start(tag) => {
                    let name = self.begin(&tag, at, false)?;
                    self.open.push(name);
                    if self.open.len() > MOST_DEPTH {
                        return Err(unsafe_at(self.form, at, "its elements nest too deep"));
                    }
                }
                Event::Empty(tag) => {
                    self.begin(&tag, at, true)?;
                }
                Event::End(tag) => {
                    self.open.pop();
                    self.told.push(Told::End(tag.name().as_ref().to_owned()));
                }
                Event::Text(text) => self.text(&text.xml10_content(), at)?,
                Event::GeneralRef(reference) => {
                    let raw = format!("&{};", reference.xml10_content());
                    let text =
                        quick_xml::escape::unescape(&raw).map_err(|error| refused(error.to_string()))?;
                    self.text(&text, at)?;
                }
                Event::Eof => break,
                Event::Comment(_) => return Err(refused("it has a comment".into())),
                Event::CData(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                    return Err(refused(
                        "it has a declaration, an instruction or a section".into(),
                    ));
                }
            }
        }
        if !self.open.is_empty() || self.told.is_empty() {
            return Err(unsafe_at(self.form, text.len() as u64, "it is not whole"));
        }
        match self.wanted.iter().find(|(id, _)| !self.ids.contains(id)) {
            Some((id, at)) => Err(unsafe_at(
                self.form,
                *at,
                format!("a link leads to {id}, which it has not"),
            )),
            None => Ok(()),
        }
    }

    fn begin(&mut self, tag: &BytesStart<'_>, at: u64, is_empty: bool) -> Result<String, Unsafe> {
        let form = self.form;
        let refused = |what: String| unsafe_at(form, at, what);
        let name = tag.name().as_ref().to_owned();
        let within = self.open.last().cloned().unwrap_or_default();
        let within = within.as_str();
        let known = self.own.iter().chain(SHAPED);
        let found = known
            .filter(|element| element.name == name && element.within.contains(&within))
            .find(|element| self.own.iter().any(|own| std::ptr::eq(own, *element)) || self.is_in_picture());
        let Some(element) = found else {
            let place = if within.is_empty() { "the whole" } else { within };
            return Err(refused(format!("no {name} may stand in {place}")));
        };
        if within.is_empty() && !self.told.is_empty() {
            return Err(refused("it has a second beginning".into()));
        }
        // A browser closes nothing by itself but what has no end: else both would read different trees.
        let is_shape = SHAPED.iter().any(|shape| shape.name == name) && name != "g" && name != "text";
        if is_empty != (is_shape || name == "meta") {
            return Err(refused(format!("{name} begins or ends in the wrong way")));
        }
        let mut attributes = BTreeMap::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| refused(error.to_string()))?;
            let key = attribute.key.as_ref().to_owned();
            let value = quick_xml::escape::unescape(&attribute.value)
                .map_err(|error| refused(error.to_string()))?
                .into_owned();
            let is_known =
                ["class", "id", "dir"].contains(&key.as_str()) || element.attributes.contains(&key.as_str());
            if !is_known {
                return Err(refused(format!("{name} may not have {key}")));
            }
            if !fits(&key, &value) {
                return Err(refused(format!("{name} may not have {key}={value:?}")));
            }
            attributes.insert(key, value);
        }
        if let Some(id) = attributes.get("id")
            && !self.ids.insert(id.clone())
        {
            return Err(refused(format!("two elements have the id {id}")));
        }
        if let Some(link) = attributes.get("href") {
            self.wanted.push((link.trim_start_matches('#').to_owned(), at));
        }
        if name == "meta" && !self.is_known_meta(&attributes) {
            return Err(refused(
                "a meta may say the character set, the policy and the width".into(),
            ));
        }
        if self.form == "picture" && within.is_empty() && !attributes.contains_key("xmlns") {
            return Err(refused("svg lacks its xmlns".into()));
        }
        // HTML knows names of attributes without regard to case.
        let told = attributes
            .into_iter()
            .map(|(key, value)| (key.to_lowercase(), value));
        self.told.push(Told::Begin(name.clone(), told.collect()));
        Ok(name)
    }

    fn is_in_picture(&self) -> bool {
        self.open.iter().any(|open| open == "svg")
    }

    fn is_known_meta(&mut self, attributes: &BTreeMap<String, String>) -> bool {
        let pairs: Vec<(&str, &str)> = attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        match pairs[..] {
            [("charset", "utf-8")] => true,
            [("content", POLICY), ("http-equiv", "Content-Security-Policy")] => {
                self.has_policy = true;
                true
            }
            [("content", _), ("name", "viewport")] => true,
            _ => false,
        }
    }

    fn text(&mut self, text: &str, at: u64) -> Result<(), Unsafe> {
        let refused = |what: &str| Err(unsafe_at(self.form, at, what));
        if text.chars().any(is_unprintable) {
            return refused("it has a control character");
        }
        let is_blank = text.chars().all(|character| character.is_ascii_whitespace());
        match self.open.last().map(String::as_str) {
            None if !is_blank => return refused("text stands outside of its elements"),
            Some("style") => {
                let style = text.to_lowercase();
                // The two readings differ in what an escaped character means there.
                if UNSTYLISH.iter().any(|word| style.contains(word)) || style.contains('&') {
                    return refused("its style could fetch something");
                }
            }
            // A browser would move it out.
            Some("html" | "head" | "table" | "thead" | "tbody" | "tr" | "ol" | "dl" | "svg" | "g")
                if !is_blank =>
            {
                return refused("text stands where none may");
            }
            _ => {}
        }
        push_text(&mut self.told, text);
        Ok(())
    }
}

/// Neighbouring pieces of text are one; a line's end at the very beginning or end of all is none.
fn push_text(told: &mut Vec<Told>, text: &str) {
    match told.last_mut() {
        Some(Told::Text(before)) => before.push_str(text),
        _ if !text.is_empty() => told.push(Told::Text(text.to_owned())),
        _ => {}
    }
}

/// What HTML's own rules make of a text. An error of theirs is told as a text that no reading as XML has.
fn as_html(text: &str) -> Vec<Told> {
    let mut emitter = DefaultEmitter::<()>::default();
    emitter.naively_switch_states(true);
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut told = Vec::new();
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let attributes = tag
                    .attributes
                    .iter()
                    .map(|(key, value)| (words(key), words(&value.value)));
                told.push(Told::Begin(words(&tag.name), attributes.collect()));
            }
            Token::EndTag(tag) => told.push(Told::End(words(&tag.name))),
            Token::String(text) => push_text(&mut told, &words(&text.value)),
            Token::Comment(_) | Token::Doctype(_) => told.push(Told::Text("\u{0}".into())),
            // Which a browser gets over; what it then reads is compared.
            Token::Error(_) => {}
        }
    }
    told
}

/// Whether an attribute may hold a value.
fn fits(key: &str, value: &str) -> bool {
    let of = |allowed: fn(u8) -> bool| value.len() <= 1 << 20 && value.bytes().all(allowed);
    match key {
        "class" => of(|byte| byte.is_ascii_lowercase() || byte == b' '),
        "id" => !value.is_empty() && of(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "dir" => value == "auto",
        "href" => value.len() > 1 && value.starts_with('#') && fits("id", &value[1..]),
        "charset" => value == "utf-8",
        "name" => value == "viewport",
        "http-equiv" => value == "Content-Security-Policy",
        "content" => value == POLICY || of(|byte| byte.is_ascii_alphanumeric() || b"-=, ".contains(&byte)),
        "xmlns" => value == SVG,
        "role" => value == "img",
        "fill" | "stroke" => {
            matches!(value, "none" | "currentColor")
                || value.len() == 7
                    && value.starts_with('#')
                    && value[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        "text-anchor" => matches!(value, "start" | "middle" | "end"),
        "transform" => value
            .strip_prefix("translate(")
            .and_then(|rest| rest.strip_suffix(')'))
            .is_some_and(|inner| inner.bytes().all(is_numeric)),
        "d" => of(|byte| is_numeric(byte) || b"MLZ".contains(&byte)),
        _ => of(is_numeric),
    }
}

fn is_numeric(byte: u8) -> bool {
    byte.is_ascii_digit() || b".,- ".contains(&byte)
}

/// What XML does not know, or no reader shows.
fn is_unprintable(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(character) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> String {
        format!(
            "{DOCTYPE}<html>\n<head>\n<meta charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; \
             style-src &#39;unsafe-inline&#39;\"/>\n<title>A &lt;title&gt;</title>\n<style>p{{margin:0}}</style>\n</head>\n<body class=\"moss\">\n\
             <main id=\"top\">{body}</main>\n</body>\n</html>\n"
        )
    }

    fn refused(body: &str, word: &str) {
        let error = check_page(&page(body)).expect_err(body);
        assert!(error.to_string().contains(word), "{body}: {error}");
    }

    #[test]
    fn what_the_drawing_objects_use_is_kept() {
        for body in [
            "",
            "<section class=\"group\"><p dir=\"auto\">5 &lt; 6 &amp; &quot;so&quot; on&#39;</p></section>",
            "<section><div><p><a href=\"#top\">up</a></p></div></section>",
            "<section><div><table><thead><tr><th>a</th></tr></thead>\n<tbody>\n<tr><td>1<ol><li>x</li></ol></td></tr></tbody></table></div></section>",
            "<section><article id=\"o12\"><svg viewBox=\"0 0 760 220\" role=\"img\"><title>t &lt; u</title><path d=\"M1,2 L3.5,-4 Z\" \
             fill=\"currentColor\" opacity=\"0.12\"/><g transform=\"translate(3 4)\"><text x=\"1\" y=\"2\">n</text></g></svg></article></section>",
        ] {
            check_page(&page(body)).unwrap_or_else(|error| panic!("{body}: {error}"));
        }
        check_picture(&format!(
            "<svg xmlns=\"{SVG}\" viewBox=\"0 0 1 1\"><title>t</title><style>text{{fill:red}}</style><rect x=\"1\"/></svg>\n"
        ))
        .unwrap();
    }

    #[test]
    fn nothing_that_runs_or_fetches_is_kept() {
        for (body, word) in [
            ("<script>alert(1)</script>", "no script"),
            (
                "<section><p onclick=\"x()\">x</p></section>",
                "may not have onclick",
            ),
            (
                "<section><p style=\"color:red\">x</p></section>",
                "may not have style",
            ),
            (
                "<section><p><a href=\"javascript:alert(1)\">x</a></p></section>",
                "href=",
            ),
            (
                "<section><p><a href=\"https://example.org/\">x</a></p></section>",
                "href=",
            ),
            (
                "<section><p><a href=\"#nowhere\">x</a></p></section>",
                "leads to nowhere",
            ),
            ("<section><img src=\"x\"/></section>", "no img"),
            ("<section><iframe></iframe></section>", "no iframe"),
            ("<section><svg><use href=\"#a\"/></svg></section>", "no use"),
            (
                "<section><svg><foreignObject></foreignObject></svg></section>",
                "no foreignObject",
            ),
            ("<section><svg><style>p{}</style></svg></section>", "no style"),
            ("<section><rect/></section>", "no rect"),
            ("<!-- x -->", "a comment"),
            ("<![CDATA[x]]>", "a section"),
            ("<?php x ?>", "an instruction"),
            ("<section><p>a<p>b</p></p></section>", "no p may stand in p"),
            ("<section><p>a</div></section>", "byte"),
            ("<section><p>&unknown;</p></section>", "unknown"),
            ("<section><p>a\u{0}</p></section>", "control"),
            ("<section/>", "wrong way"),
            ("<section><div><table>x</table></div></section>", "where none may"),
            ("<section id=\"top\"></section>", "two elements"),
            ("<section", "byte"),
            ("<meta http-equiv=\"refresh\" content=\"0\"/>", "no meta"),
        ] {
            refused(body, word);
        }
        for style in [
            "@import 'x'",
            "p{background:url(x)}",
            "p{background:u\\72l(x)}",
            "p{x:EXPRESSION(1)}",
            "&lt;/style&gt;",
        ] {
            let whole = page("").replace("p{margin:0}", style);
            assert!(check_page(&whole).is_err(), "{style}");
        }
        let whole = page("");
        assert!(check_page(&whole.replace("&#39;none&#39;", "*")).is_err());
        assert!(check_page(&whole.replace("<meta http-equiv", "<meta name")).is_err());
        assert!(check_page(&format!("{whole}<html></html>")).is_err());
        assert!(check_page("").is_err() && check_picture("").is_err());
        assert!(check_picture("<svg viewBox=\"0 0 1 1\"></svg>").is_err());
        assert!(check_picture(&format!("<svg xmlns=\"{SVG}\"><script/></svg>")).is_err());
    }

    /// A textarea or a title ends, for a browser, at its end tag alone; for XML it may have elements. None of these is known.
    #[test]
    fn what_two_readers_understand_differently_is_refused() {
        for whole in [
            page("").replace("A &lt;title&gt;", "<p>x</p>"),
            page("<section><svg><title><p>x</p></title></svg></section>"),
            page("<section><p>a&#133;b</p></section>"),
            page("<section><p>a&#13;b</p></section>"),
            page("<section><h1><section>x</section></h1></section>"),
        ] {
            assert!(check_page(&whole).is_err(), "{whole}");
        }
    }
}
