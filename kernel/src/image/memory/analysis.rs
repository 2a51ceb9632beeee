//! A text as terms: words of UAX #29, in lower case, no stop words, stemmed by the language's Snowball stemmer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use shared::object::ObjectImage;
use unicode_segmentation::UnicodeSegmentation;
use whatlang::Lang;

use super::{LANGUAGE, meta_of, text_of, word_of};

/// A term is cut to so many bytes.
const TERM_BYTES: usize = 40;
/// A pair of meta that is longer is known by its hash.
const PAIR_BYTES: usize = 200;
/// Before the pairs of meta, and before a language, among the terms.
const PAIR: u8 = 0x01;
pub const SPOKEN: u8 = 0x02;
const EQUALS: u8 = 0x1f;
/// A language is guessed by so many bytes of a text.
const GUESSED_BYTES: usize = 4 << 10;
/// Source code has no stemmer.
pub const CODE: &str = "code";

/// One chunk's terms.
#[derive(Debug)]
pub struct Analysis {
    /// Each with how often it comes.
    pub terms: FxHashMap<Box<[u8]>, u32>,
    /// How many words, stop words left out.
    pub length: u32,
    pub fingerprint: u64,
}

/// A language that is stemmed.
struct Spoken {
    code: &'static str,
    lang: Lang,
    algorithm: Algorithm,
}

const SPOKEN_LANGUAGES: [Spoken; 17] = [
    spoken("ar", Lang::Ara, Algorithm::Arabic),
    spoken("da", Lang::Dan, Algorithm::Danish),
    spoken("de", Lang::Deu, Algorithm::German),
    spoken("el", Lang::Ell, Algorithm::Greek),
    spoken("en", Lang::Eng, Algorithm::English),
    spoken("es", Lang::Spa, Algorithm::Spanish),
    spoken("fi", Lang::Fin, Algorithm::Finnish),
    spoken("fr", Lang::Fra, Algorithm::French),
    spoken("hu", Lang::Hun, Algorithm::Hungarian),
    spoken("it", Lang::Ita, Algorithm::Italian),
    spoken("nl", Lang::Nld, Algorithm::Dutch),
    spoken("no", Lang::Nob, Algorithm::Norwegian),
    spoken("pt", Lang::Por, Algorithm::Portuguese),
    spoken("ro", Lang::Ron, Algorithm::Romanian),
    spoken("ru", Lang::Rus, Algorithm::Russian),
    spoken("sv", Lang::Swe, Algorithm::Swedish),
    spoken("tr", Lang::Tur, Algorithm::Turkish),
];

const fn spoken(code: &'static str, lang: Lang, algorithm: Algorithm) -> Spoken {
    Spoken {
        code,
        lang,
        algorithm,
    }
}

/// A language ready to be used.
struct Known {
    stemmer: Stemmer,
    stop_words: FxHashSet<&'static str>,
}

/// Words and their stems.
type Stems = FxHashMap<Box<str>, Box<str>>;

thread_local! {
    /// Words that came lately, by language, and their stems; those of stop words are empty.
    static STEMS: RefCell<FxHashMap<&'static str, Stems>> = RefCell::default();
}
/// So many are kept of a language.
const STEMS_KEPT: usize = 1 << 16;

static KNOWN: LazyLock<FxHashMap<&'static str, Known>> = LazyLock::new(|| {
    let known = |spoken: &Spoken| Known {
        stemmer: Stemmer::create(spoken.algorithm),
        stop_words: stop_words::get(spoken.code).iter().copied().collect(),
    };
    SPOKEN_LANGUAGES
        .iter()
        .map(|spoken| (spoken.code, known(spoken)))
        .collect()
});

/// Languages that are not stemmed, whose stop words keep a text of theirs from counting as one of a neighbour's.
const OTHERS: [&str; 8] = ["sq", "az", "eu", "be", "ca", "id", "sl", "kk"];

/// Whose stop word a word is: a bit for each of [`SPOKEN_LANGUAGES`], then for each of [`OTHERS`].
static SPEAKERS: LazyLock<FxHashMap<&'static str, u32>> = LazyLock::new(|| {
    let mut speakers: FxHashMap<&'static str, u32> = FxHashMap::default();
    let spoken = SPOKEN_LANGUAGES.iter().map(|spoken| spoken.code);
    for (at, code) in spoken.chain(OTHERS).enumerate() {
        // Single letters are words, or parts of them, in every language.
        let words = stop_words::lookup(code).unwrap_or_default().iter();
        for word in words.filter(|word| word.chars().count() > 1) {
            *speakers.entry(word).or_default() |= 1 << at;
        }
    }
    speakers
});

/// Words that must be there, one of so many that must be a stop word of the language, and how many times as often as those
/// of any other language.
const WORDS_HEARD: u32 = 20;
const ONE_OF: u32 = 8;
const TIMES_OTHERS: u32 = 2;

/// The language whose stop words a text is full of, where those of no other come near; it spares the guess by trigrams.
fn clearly_spoken(text: &str) -> Option<&'static str> {
    let mut counts = [0u32; SPOKEN_LANGUAGES.len() + OTHERS.len()];
    let mut words = 0;
    let mut lower = String::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()) {
        if word.is_empty() {
            continue;
        }
        words += 1;
        lowered(word, &mut lower);
        let mut bits = SPEAKERS.get(lower.as_str()).copied().unwrap_or(0);
        while bits != 0 {
            counts[bits.trailing_zeros() as usize] += 1;
            bits &= bits - 1;
        }
    }
    let best = (0..counts.len()).max_by_key(|at| counts[*at])?;
    let others = counts.iter().enumerate().filter(|(at, _)| *at != best);
    let second = others.map(|(_, count)| *count).max().unwrap_or(0);
    let is_clear =
        words >= WORDS_HEARD && counts[best] * ONE_OF >= words && counts[best] >= second * TIMES_OTHERS;
    SPOKEN_LANGUAGES
        .get(best)
        .filter(|_| is_clear)
        .map(|spoken| spoken.code)
}

/// Puts a word into `lower`, in lower case.
fn lowered(word: &str, lower: &mut String) {
    lower.clear();
    match word.is_ascii() {
        true => {
            lower.push_str(word);
            lower.make_ascii_lowercase();
        }
        false => lower.extend(word.chars().flat_map(char::to_lowercase)),
    }
}

/// The language of a text: one that is stemmed, or empty. What is too short to tell counts as English where it is ASCII.
pub fn language(text: &str) -> &'static str {
    let head = head(text, GUESSED_BYTES);
    if let Some(code) = clearly_spoken(head) {
        return code;
    }
    let guessed = whatlang::detect(head).filter(whatlang::Info::is_reliable);
    match guessed {
        Some(info) => SPOKEN_LANGUAGES
            .iter()
            .find(|spoken| spoken.lang == info.lang())
            .map_or("", |spoken| spoken.code),
        None if head.bytes().filter(u8::is_ascii).count() * 10 >= head.len() * 9 => "en",
        None => "",
    }
}

/// The beginning of a text, whole characters of it.
pub fn head(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Analysis {
    pub fn empty() -> Analysis {
        Analysis {
            terms: FxHashMap::default(),
            length: 0,
            fingerprint: 0,
        }
    }

    /// What the index knows a chunk by; `None` for what is no chunk.
    pub fn of(chunk: &ObjectImage) -> Option<Analysis> {
        let text = text_of(chunk)?;
        let language = word_of(chunk, LANGUAGE).unwrap_or_default();
        let mut analysis = Analysis::empty();
        analysis.fingerprint = fingerprint(text);
        each_term(text, language, |term| {
            analysis.length += 1;
            match analysis.terms.get_mut(term.as_bytes()) {
                Some(times) => *times += 1,
                None => {
                    analysis.terms.insert(term.as_bytes().into(), 1);
                }
            }
        });
        for (key, value) in meta_of(chunk) {
            analysis.terms.insert(pair(key, value).into(), 1);
        }
        let mut spoken = vec![SPOKEN];
        spoken.extend(head(language, TERM_BYTES).bytes().filter(|byte| *byte > EQUALS));
        analysis.terms.insert(spoken.into(), 1);
        Some(analysis)
    }
}

/// The term of a pair of meta.
pub fn pair(key: &str, value: &str) -> Vec<u8> {
    let mut term = vec![PAIR];
    let plain = |text: &str| text.bytes().all(|byte| byte > EQUALS);
    if key.len() + value.len() < PAIR_BYTES && plain(key) && plain(value) {
        term.extend(key.as_bytes());
        term.push(EQUALS);
        term.extend(value.as_bytes());
    } else {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes()).update(value.as_bytes());
        // In hexadecimal: a term holds no zero.
        term.extend(hasher.finalize().to_hex().as_bytes());
    }
    term
}

/// The terms of a question in each of the languages: of each word all that it may stand as, each once.
pub fn asked(question: &str, languages: &[String]) -> Vec<String> {
    let mut terms = Vec::new();
    for language in languages {
        each_term(question, language, |term| {
            if !terms.iter().any(|known| known == term) {
                terms.push(term.to_owned());
            }
        });
    }
    terms
}

/// Visits the terms of a text in their order.
fn each_term(text: &str, language: &str, mut visit: impl FnMut(&str)) {
    let known = KNOWN.get_key_value(language);
    let mut lower = String::new();
    for word in text.unicode_words() {
        let mut one = |word: &str| {
            lowered(word, &mut lower);
            let plain = lower.trim_matches('\'');
            match known {
                Some((code, known)) => known.stem(code, plain, &mut visit),
                None => visit(head(plain, TERM_BYTES)),
            }
        };
        one(word);
        if is_compound(word) {
            parts(word).for_each(&mut one);
        }
    }
}

impl Known {
    /// Visits a word's stem, unless it is a stop word.
    fn stem(&self, code: &'static str, word: &str, visit: &mut impl FnMut(&str)) {
        STEMS.with_borrow_mut(|stems| {
            let stems = stems.entry(code).or_default();
            if let Some(stem) = stems.get(word) {
                if !stem.is_empty() {
                    visit(stem);
                }
                return;
            }
            let stem: Box<str> = match self.stop_words.contains(word) {
                true => Box::default(),
                false => Box::from(head(&self.stemmer.stem(word), TERM_BYTES)),
            };
            if !stem.is_empty() {
                visit(&stem);
            }
            if stems.len() >= STEMS_KEPT {
                stems.clear();
            }
            stems.insert(word.into(), stem);
        });
    }
}

/// True for what looks like a name of source code.
fn is_compound(word: &str) -> bool {
    let bytes = word.as_bytes();
    word.contains('_')
        || bytes
            .windows(2)
            .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

/// The parts of a name such as `readConfig_file`.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split('_').flat_map(|piece| {
        let bytes = piece.as_bytes();
        let mut cuts = vec![0];
        cuts.extend(
            (1..bytes.len())
                .filter(|at| bytes[at - 1].is_ascii_lowercase() && bytes[*at].is_ascii_uppercase()),
        );
        cuts.push(piece.len());
        let pieces: Vec<&str> = cuts.windows(2).map(|cut| &piece[cut[0]..cut[1]]).collect();
        pieces.into_iter().filter(|piece| !piece.is_empty())
    })
}

/// SimHash over neighbouring words: texts that share nearly all pairs differ in few bits.
pub fn fingerprint(text: &str) -> u64 {
    let mut votes = [0i32; 64];
    for pair in pairs(text) {
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += ((pair >> bit & 1) as i32) * 2 - 1;
        }
    }
    let mut fingerprint = 0;
    for (bit, vote) in votes.iter().enumerate() {
        fingerprint |= u64::from(*vote > 0) << bit;
    }
    fingerprint
}

/// Hashes of the pairs of neighbouring words; of a single word, of itself.
pub fn pairs(text: &str) -> Vec<u64> {
    let words: Vec<u64> = match text.is_ascii() {
        true => text
            .as_bytes()
            .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .filter(|word| !word.is_empty())
            .map(|word| hashed(word.iter().map(|byte| u32::from(byte.to_ascii_lowercase()))))
            .collect(),
        false => text
            .unicode_words()
            .map(|word| hashed(word.chars().flat_map(char::to_lowercase).map(u32::from)))
            .collect(),
    };
    match words.as_slice() {
        [only] => vec![mixed(*only)],
        words => words
            .windows(2)
            .map(|pair| mixed(pair[0].rotate_left(21) ^ pair[1]))
            .collect(),
    }
}

fn hashed(letters: impl Iterator<Item = u32>) -> u64 {
    let mut hasher = FxHasher::default();
    letters.for_each(|letter| hasher.write_u32(letter));
    hasher.finish()
}

/// Spreads a weak hash over all bits (the finalizer of SplitMix64).
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// How alike two texts are: the share of their pairs that both have, from 0 to 1.
pub fn likeness(one: &str, other: &str) -> f32 {
    let (one, other): (HashSet<u64>, HashSet<u64>) = (
        pairs(one).into_iter().collect(),
        pairs(other).into_iter().collect(),
    );
    let all = one.union(&other).count();
    match all {
        0 => 1.0,
        all => one.intersection(&other).count() as f32 / all as f32,
    }
}

/// Of a longer word an encoder makes several tokens.
const LETTERS: usize = 7;

/// About how many tokens an encoder makes of a text: a seventh of each word's letters, rounded up, and one for each sign.
pub fn tokens(text: &str) -> usize {
    let mut tokens = 0;
    if text.is_ascii() {
        let mut letters = 0usize;
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                letters += 1;
                continue;
            }
            tokens += letters.div_ceil(LETTERS) + usize::from(!byte.is_ascii_whitespace());
            letters = 0;
        }
        return tokens + letters.div_ceil(LETTERS);
    }
    for piece in text.split_word_bounds() {
        let letters = piece.chars().filter(|letter| letter.is_alphanumeric()).count();
        tokens += match letters {
            0 if piece.trim().is_empty() => 0,
            0 => 1,
            letters => letters.div_ceil(LETTERS),
        };
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str, language: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_term(text, language, |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn words_are_stemmed_in_their_language() {
        assert_eq!(
            terms("The flows were running over the wings.", "en"),
            ["flow", "run", "wing"]
        );
        assert_eq!(
            terms("Die Katzen liefen über die Häuser", "de"),
            ["katz", "lief", "haus"]
        );
        assert_eq!(terms("The flows", ""), ["the", "flows"]);
        assert_eq!(
            terms("readConfig_file(path)", CODE),
            ["readconfig_file", "read", "config", "file", "path"]
        );
        assert!(terms(&"x".repeat(100), "").iter().all(|term| term.len() == 40));
    }

    #[test]
    fn languages_are_told_by_their_words() {
        assert_eq!(
            language("The boundary layer grows along the plate until it becomes turbulent and thick."),
            "en"
        );
        assert_eq!(
            language("Die Grenzschicht wächst entlang der Platte, bis sie turbulent und dick wird."),
            "de"
        );
        assert_eq!(
            language("La couche limite croît le long de la plaque jusqu'à ce qu'elle devienne turbulente."),
            "fr"
        );
        assert_eq!(language("ok"), "en");
        // With words that English has as stop words, too.
        let polish = "Warstwa przyscienna narasta wzdluz plyty, az stanie sie burzliwa; to jest powod, dla ktorego tarcie na scianie \
                      rosnie, a predkosc przy niej spada do zera. On i my wiemy o tym od dawna, chociaz nikt tego nie mierzyl.";
        assert_ne!(clearly_spoken(polish), Some("en"));
        let catalan = "La capa del nord creix amb la placa fins que es torna gruixuda i els pescadors no poden sortir de casa perquè fa mal temps";
        assert_ne!(clearly_spoken(catalan), Some("es"));
    }

    #[test]
    fn stop_words_tell_what_trigrams_tell() {
        let texts = [
            (
                "en",
                "The layer grows along the plate until it is turbulent, and then the friction of the wall is higher than it was before.",
            ),
            (
                "de",
                "Die Schicht wächst an der Platte, bis sie turbulent wird, und dann ist die Reibung an der Wand höher als sie vorher war.",
            ),
            (
                "fr",
                "La couche croît le long de la plaque jusqu'à ce qu'elle soit turbulente, et alors le frottement de la paroi est plus fort que avant.",
            ),
            (
                "es",
                "La capa crece a lo largo de la placa hasta que se vuelve turbulenta, y entonces la fricción de la pared es mayor que la de antes.",
            ),
            (
                "ru",
                "Слой растёт вдоль пластины, пока он не станет турбулентным, и тогда трение на стене уже больше, чем оно было до этого у неё.",
            ),
        ];
        let mut clear = 0;
        for (code, text) in texts {
            let guessed = whatlang::detect(text).unwrap().lang();
            let spoken = SPOKEN_LANGUAGES.iter().find(|spoken| spoken.lang == guessed);
            assert_eq!(spoken.map(|spoken| spoken.code), Some(code));
            if let Some(told) = clearly_spoken(text) {
                assert_eq!(told, code);
                clear += 1;
            }
        }
        assert!(clear >= 3, "stop words told {clear} of {}", texts.len());
    }

    #[test]
    fn nearly_equal_texts_have_near_fingerprints() {
        let text = "the boundary layer grows along the flat plate until it becomes turbulent and the skin friction rises again";
        let near = text.replace("flat", "long");
        let far = "a horse was seen in the fields behind the mill, and nobody knew to whom it might belong in the village";
        let distance = |a: &str, b: &str| (fingerprint(a) ^ fingerprint(b)).count_ones();
        assert_eq!(distance(text, text), 0);
        assert!(distance(text, &near) < 16, "{}", distance(text, &near));
        assert!(distance(text, far) > 18, "{}", distance(text, far));
        assert!(likeness(text, &near) > 0.7 && likeness(text, far) < 0.1);
        assert_eq!(likeness("", ""), 1.0);
    }

    #[test]
    fn pairs_of_meta_are_terms_of_their_own() {
        assert_eq!(pair("k", "v"), b"\x01k\x1fv");
        let long = pair("k", &"v".repeat(300));
        assert_eq!(long.len(), 65);
        assert_ne!(long, pair("kv", &"v".repeat(299)));
        assert_eq!(pair("k", "\0").len(), 65);
    }
}
