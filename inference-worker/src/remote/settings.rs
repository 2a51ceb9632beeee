//! Which server writes instead of a model of our own, and how it is spoken to.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Uri;
use hyper::header::HeaderValue;

const MAX_KEY_BYTES: u64 = 4096;

/// What a server understands beyond OpenAI's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Any that understands OpenAI's requests.
    #[default]
    Openai,
    /// llama.cpp's own server, or that of llama-cpp-python.
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Vllm,
    Ollama,
}

/// When a server writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// In the place of a model.
    #[default]
    Always,
    /// When who asks says so: a model writes, and the server stands by for what it cannot do.
    Needed,
}

/// A server that speaks OpenAI's protocol, in the place of a model or beside it.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArguments {
    /// Have a server write, such as http://127.0.0.1:8080/v1, and load no model.
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
    /// Whether it writes always, or a model does and the server what that cannot do.
    #[arg(long, value_enum, default_value_t)]
    server_when: When,
    /// The model's name there; by default the only one that the server has.
    #[arg(long, value_name = "NAME")]
    server_model: Option<String>,
    /// What the server understands beyond OpenAI's requests.
    #[arg(long, value_enum, default_value_t)]
    server_kind: Kind,
    /// A file with the key that is sent to it.
    #[arg(long, value_name = "FILE", conflicts_with = "server_key_env")]
    server_key_file: Option<PathBuf>,
    /// The environment variable that holds the key.
    #[arg(long, value_name = "NAME")]
    server_key_env: Option<String>,
    /// Certificates (PEM) that are trusted for it, instead of the system's.
    #[arg(long, value_name = "FILE")]
    server_ca_file: Option<PathBuf>,
    /// Give a connection up after so many milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=600_000))]
    server_connect_ms: u32,
    /// Give an answer up when nothing came for so many milliseconds; long prompts are silent until they are read.
    #[arg(long, default_value_t = 120_000, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    server_silence_ms: u32,
    /// Ask again so often when the server is unreachable or busy, as long as nothing was told; pauses double from 250 ms.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=20))]
    server_retries: u8,
}

/// Checked.
#[derive(Clone, Debug)]
pub struct Server {
    pub url: Address,
    pub when: When,
    pub model: Option<String>,
    pub kind: Kind,
    pub key: Option<Key>,
    pub ca_file: Option<PathBuf>,
    pub connect: Duration,
    pub silence: Duration,
    pub retries: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
    /// As in the URL, for the header `Host`.
    pub authority: String,
    /// Without a slash at its end.
    pub path: String,
}

/// A secret: it is written to its server and nowhere else.
#[derive(Clone)]
pub struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    fn of(text: &str, from: &str) -> Result<Key, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{from} holds no key: one word of printable characters is wanted"
            ));
        }
        Ok(Key(text.to_owned()))
    }

    /// The only word of a file.
    pub fn read(path: &Path) -> Result<Key, String> {
        let wrong = |what: String| format!("the key's file {} cannot be used: {what}", path.display());
        let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
        let mut text = String::new();
        let count = file
            .take(MAX_KEY_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| wrong(error.to_string()))?;
        if count as u64 > MAX_KEY_BYTES {
            return Err(wrong(format!("it has more than {MAX_KEY_BYTES} bytes")));
        }
        Key::of(&text, &path.display().to_string())
    }

    /// Of the header `Authorization`.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A text that may be shown, though a server repeated the key in it.
    pub fn strike(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

impl ServerArguments {
    /// None when no server is named.
    pub fn server(self) -> Result<Option<Server>, String> {
        let Some(url) = self.server_url else {
            return Ok(None);
        };
        let url = Address::of(&url)?;
        let key = match (&self.server_key_file, &self.server_key_env) {
            (Some(path), _) => Some(Key::read(path)?),
            (None, Some(name)) => {
                let text = std::env::var(name)
                    .map_err(|_| format!("the environment has no {name}, which is to hold the key"))?;
                Some(Key::of(&text, &format!("the environment's {name}"))?)
            }
            (None, None) => None,
        };
        Ok(Some(Server {
            url,
            when: self.server_when,
            model: self.server_model,
            kind: self.server_kind,
            key,
            ca_file: self.server_ca_file,
            connect: Duration::from_millis(self.server_connect_ms.into()),
            silence: Duration::from_millis(self.server_silence_ms.into()),
            retries: self.server_retries,
        }))
    }
}

impl Address {
    pub fn of(url: &str) -> Result<Address, String> {
        let wrong = |what: &str| format!("the server's URL {url:?} cannot be used: {what}");
        if url.contains('@') {
            // Not repeated: it may be a password.
            return Err("the server's URL names a user; give a key by a file or the environment".into());
        }
        let uri: Uri = url
            .parse()
            .map_err(|error: hyper::http::uri::InvalidUri| wrong(&error.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        Ok(Address {
            is_tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// For people.
    pub fn shown(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_wrong_ones_named() {
        let address = Address::of("https://host.example/v1/").unwrap();
        assert_eq!(
            (address.port, address.path.as_str(), address.is_tls),
            (443, "/v1", true)
        );
        let address = Address::of("http://[::1]:8080").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.path.as_str()),
            ("::1", 8080, "")
        );
        assert_eq!(address.shown(), "http://[::1]:8080");
        for (url, word) in [
            ("ftp://x/", "http://"),
            ("localhost:80", "http://"),
            ("http://x/v1?key=1", "query"),
            ("http://", "cannot be used"),
            ("http://a b/", "cannot be used"),
        ] {
            let message = Address::of(url).unwrap_err();
            assert!(message.contains(word), "{url}: {message}");
        }
        let message = Address::of("http://user:secret@x/").unwrap_err();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn a_key_is_one_word_and_never_shown() {
        let key = Key::of(" sk-123\n", "x").unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!(format!("{:?}", key.header().unwrap()), "Sensitive");
        assert_eq!(key.strike("bad key sk-123!"), "bad key …!");
        for wrong in ["", "  ", "two words", "ä"] {
            assert!(Key::of(wrong, "x").is_err(), "{wrong:?}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x".repeat(5_000)).unwrap();
        assert!(Key::read(file.path()).unwrap_err().contains("more than"));
    }
}
