//! The command line.

use crate::jail::Limits;

/// What the kernel asked for when it spawned this process.
#[derive(Debug)]
pub struct Arguments {
    pub limits: Limits,
    pub strictness: Strictness,
    /// A folder of packages that methods may use.
    pub packages: Option<String>,
    /// What of them.
    pub allow: Vec<Allowed>,
    /// How much this process gives way to others, as of `nice`.
    pub nice: u64,
}

/// A name of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub module: String,
    pub name: String,
}

/// What happens when the machine lacks a part of the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse to run.
    Whole,
    /// Run, and name what is missing.
    Weak,
}

/// Bounds of `--memory-mib`: less does not hold an interpreter and one full frame, more is not counted in this type.
const MEMORY_MIB: std::ops::RangeInclusive<u64> = 96..=1 << 20;
const NICE: std::ops::RangeInclusive<u64> = 0..=19;
const CPU_SECONDS: std::ops::RangeInclusive<u64> = 1..=1 << 20;

/// Parses the command line without the program's name. The error is a sentence.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        limits: Limits::default(),
        strictness: Strictness::Whole,
        packages: None,
        allow: Vec::new(),
        nice: 0,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--memory-mib" => arguments.limits.memory_mib = number(&word, words.next(), MEMORY_MIB)?,
            "--cpu-seconds" => arguments.limits.cpu_seconds = number(&word, words.next(), CPU_SECONDS)?,
            "--packages" => arguments.packages = Some(words.next().ok_or("--packages needs a folder")?),
            "--allow" => arguments.allow = allowed(&words.next().ok_or("--allow needs names")?)?,
            "--nice" => arguments.nice = number(&word, words.next(), NICE)?,
            "--allow-weak-jail" => arguments.strictness = Strictness::Weak,
            _ => {
                return Err(format!(
                    "unknown argument {word:?}; the kernel starts this program"
                ));
            }
        }
    }
    Ok(arguments)
}

fn allowed(list: &str) -> Result<Vec<Allowed>, String> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names
        .map(|name| match name.split_once('.') {
            Some((module, name)) if is_identifier(module) && is_identifier(name) => Ok(Allowed {
                module: module.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "{name:?} is not a module and a name in it, such as math.sqrt"
            )),
        })
        .collect()
}

fn is_identifier(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_part) && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn number(flag: &str, word: Option<String>, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let word = word.ok_or_else(|| format!("{flag} needs a number"))?;
    match word.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "{flag} {word:?} is not a number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: Result<(u64, u64, Strictness), &str>) {
        let parsed = parse(words.iter().map(|word| (*word).to_owned()));
        match (parsed, expected) {
            (Ok(a), Ok(expected)) => {
                assert_eq!(
                    (a.limits.memory_mib, a.limits.cpu_seconds, a.strictness),
                    expected
                )
            }
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (parsed, expected) => panic!("{parsed:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_command_line_is_closed() {
        check(
            &["--memory-mib", "200", "--cpu-seconds", "3"],
            Ok((200, 3, Strictness::Whole)),
        );
        check(&["--allow-weak-jail"], Ok((512, 60, Strictness::Weak)));
        check(&["--memory-mib", "1"], Err("from 96"));
        check(&["--cpu-seconds"], Err("needs a number"));
        check(&["--help"], Err("unknown"));
        check(&["--allow", "a.b,c"], Err("a module and a name"));
        check(&["--allow", "a._b"], Err("a module and a name"));
    }
}
