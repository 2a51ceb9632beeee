//! One connection, one request, one answer: dropping it ends all three.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::settings::Server;

/// Of the answer's head.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Of an answer that is no stream.
const MAX_PLAIN_BYTES: usize = 4 << 20;
/// Of an error's text, as it is shown.
const SHOWN_CHARACTERS: usize = 300;
/// A server cannot make us wait longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("nothing came for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it answered {status}: {text}")]
    Refused {
        status: StatusCode,
        text: String,
        after: Option<Duration>,
    },
    /// What no server that works would say.
    #[error("its answer cannot be followed: {0}")]
    Wrong(String),
}

impl Trouble {
    /// Whether the same request may be answered later.
    pub fn may_pass(&self) -> bool {
        match self {
            Trouble::Unreachable(_) | Trouble::Silent(_) | Trouble::Broken(_) => true,
            Trouble::Refused { status, .. } => {
                matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            Trouble::Wrong(_) => false,
        }
    }

    /// When the server wants to be asked again.
    pub fn after(&self) -> Option<Duration> {
        match self {
            Trouble::Refused { after, .. } => *after,
            _ => None,
        }
    }
}

/// How connections to one server are made.
pub struct Connector {
    server: Server,
    tls: Option<TlsConnector>,
}

/// An answer that is being read.
pub struct Answer {
    body: Incoming,
    silence: Duration,
    _driver: Driver,
}

/// The task that moves a connection's bytes; ended when dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connector {
    /// Reads the certificates. Fails with the file that is wrong.
    pub fn new(server: Server) -> Result<Connector, String> {
        let tls = match server.url.is_tls {
            true => Some(TlsConnector::from(Arc::new(trust(&server)?))),
            false => None,
        };
        Ok(Connector { server, tls })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A document of JSON.
    pub async fn get(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let mut answer = self
            .ask(Method::GET, path, Vec::new(), "application/json")
            .await?;
        answer.rest(MAX_PLAIN_BYTES).await
    }

    /// A stream of events.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Answer, Trouble> {
        self.ask(Method::POST, path, body, "text/event-stream").await
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>, wanted: &str) -> Result<Answer, Trouble> {
        let Server {
            url,
            connect,
            silence,
            ..
        } = &self.server;
        let unreachable = |error: std::io::Error| Trouble::Unreachable(error.to_string());
        let late = |_| Trouble::Unreachable(format!("no connection within {} ms", connect.as_millis()));
        let (mut sender, driver) = timeout(*connect, async {
            let stream = TcpStream::connect((url.host.as_str(), url.port))
                .await
                .map_err(unreachable)?;
            let _ = stream.set_nodelay(true);
            match &self.tls {
                None => handshake(stream).await,
                Some(tls) => {
                    let name = ServerName::try_from(url.host.clone())
                        .map_err(|error| Trouble::Wrong(error.to_string()))?;
                    handshake(tls.connect(name, stream).await.map_err(unreachable)?).await
                }
            }
        })
        .await
        .map_err(late)??;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", url.path))
            .header(HOST, &url.authority)
            .header(USER_AGENT, concat!("batos/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .header(ACCEPT, wanted);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = self.server.key.as_ref().and_then(super::settings::Key::header) {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Trouble::Wrong(error.to_string()))?;
        let response = timeout(*silence, sender.send_request(request))
            .await
            .map_err(|_| Trouble::Silent(*silence))?
            .map_err(broken)?;
        self.check(response, wanted, driver).await
    }

    /// The answer of a response that is what was wanted.
    async fn check(
        &self,
        response: Response<Incoming>,
        wanted: &str,
        driver: Driver,
    ) -> Result<Answer, Trouble> {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header(CONTENT_TYPE).unwrap_or("").to_owned();
        let after = header(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        let is_wanted = kind
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted));
        let mut answer = Answer {
            body: response.into_body(),
            silence: self.server.silence,
            _driver: driver,
        };
        if status == StatusCode::OK && is_wanted {
            return Ok(answer);
        }
        // Only for people: the beginning is enough.
        let text = answer.beginning().await;
        let text = self.shown(&text);
        if status == StatusCode::OK {
            let kind = self.shown(kind.as_bytes());
            return Err(Trouble::Wrong(format!(
                "it is of the type {kind:?}, not {wanted}: {text}"
            )));
        }
        Err(Trouble::Refused {
            status,
            text,
            after: after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        })
    }

    /// What a server said, short, on one line, without the key.
    pub fn shown(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        let text = match &self.server.key {
            Some(key) => key.strike(&text),
            None => text,
        };
        text.chars()
            .filter(|character| !character.is_control())
            .take(SHOWN_CHARACTERS)
            .collect()
    }
}

impl Answer {
    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = timeout(self.silence, self.body.frame())
                .await
                .map_err(|_| Trouble::Silent(self.silence))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    async fn rest(&mut self, most: usize) -> Result<Vec<u8>, Trouble> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > most {
                return Err(Trouble::Wrong(format!("it is longer than {most} bytes")));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    async fn beginning(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < 4 * SHOWN_CHARACTERS {
            match self.next().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes[..bytes.len().min(4 * SHOWN_CHARACTERS)]),
                Ok(None) | Err(_) => break,
            }
        }
        all
    }
}

async fn handshake<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: T,
) -> Result<(http1::SendRequest<Full<Bytes>>, Driver), Trouble> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let driver = tokio::spawn(async move {
        // Its end is seen by whoever reads the answer.
        let _ = connection.await;
    });
    Ok((sender, Driver(driver)))
}

fn broken(error: hyper::Error) -> Trouble {
    match error.is_parse() {
        true => Trouble::Wrong(error.to_string()),
        false => Trouble::Broken(error.to_string()),
    }
}

/// Whose certificates are believed: those of the file, or the system's.
fn trust(server: &Server) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &server.ca_file {
        Some(path) => {
            let wrong = |what: String| format!("the certificates {} cannot be used: {what}", path.display());
            let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds none".into()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "the system has no certificates to trust; name a file of them as server.ca_file".into(),
                );
            }
        }
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
