//! Servers that are told things: HTTP and SMTP on loopback, as plain as the protocols allow.
//! They keep what they got, and behave as badly as a test wants.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Well,
    /// It says that it has a fault of its own: HTTP 503, SMTP 451.
    Faulty,
    /// It refuses the message for what it is: HTTP 400, SMTP 554.
    Refusing,
    /// It takes the connection and says nothing.
    Silent,
    /// It says yes, and in the answer's text that it did not: `errcode`. HTTP only.
    Pretending,
}

/// A stream that a server speaks on: plain, or with TLS.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Makes the stream of a connection, which may speak TLS.
pub type Wrap = Arc<dyn Fn(TcpStream) -> Box<dyn Wire> + Send + Sync>;

/// A running server; what it got, in order.
pub struct Listener<T> {
    port: u16,
    mood: Arc<Mutex<Mood>>,
    got: Arc<Mutex<Vec<T>>>,
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST /path?query`.
    pub line: String,
    /// Header fields, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// A mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// `user password`, as they were sent.
    pub account: Option<String>,
    /// Header fields and text, decoded as far as the text goes.
    pub text: String,
}

impl<T: Clone + Send + 'static> Listener<T> {
    fn start(
        port: u16,
        wrap: Wrap,
        talk: impl Fn(&mut BufReader<Box<dyn Wire>>, Mood, &mut dyn FnMut(T)) -> Option<()>
        + Send
        + Sync
        + 'static,
    ) -> Listener<T> {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, got) = (Arc::new(Mutex::new(Mood::Well)), Arc::new(Mutex::new(Vec::new())));
        let (their_mood, theirs, talk) = (mood.clone(), got.clone(), Arc::new(talk));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (wrap, talk) = (wrap.clone(), talk.clone());
                let (mood, got) = (their_mood.clone(), theirs.clone());
                thread::spawn(move || {
                    let mood = *mood.lock().unwrap();
                    let mut wire = BufReader::new(wrap(stream));
                    // Kept before it is answered: what the other side knows, the test sees.
                    talk(&mut wire, mood, &mut |message| got.lock().unwrap().push(message));
                });
            }
        });
        Listener { port, mood, got }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Behaves so from the next connection on.
    pub fn behave(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Everything it took so far.
    pub fn got(&self) -> Vec<T> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until it has taken so many.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<T> {
        let begin = Instant::now();
        loop {
            let got = self.got();
            if got.len() >= count {
                return got;
            }
            assert!(begin.elapsed() < PATIENCE, "only {} of {count} came", got.len());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Without TLS.
pub fn plain() -> Wrap {
    Arc::new(|stream| Box::new(stream))
}

/// A certificate for 127.0.0.1, with the authority that signed it.
pub struct Certificates {
    /// The authority's certificate (PEM).
    pub ca: PathBuf,
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// Makes certificates with openssl in `dir`.
pub fn certificates(dir: &Path, name: &str) -> Certificates {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN={name} CA' \
           -keyout {name}-ca.key -out {name}-ca.pem
         openssl req -newkey rsa:2048 -nodes -subj '/CN=server' \
           -keyout {name}.key -out {name}.csr
         printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > {name}.ext
         openssl x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial \
           -days 2 -extfile {name}.ext -out {name}.pem"
    );
    let done = Command::new("sh").args(["-ec", &script]).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Certificates {
        ca: dir.join(format!("{name}-ca.pem")),
        certificate: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    }
}

/// With TLS from the first byte.
pub fn tls(certificates: &Certificates) -> Wrap {
    let secure = securing(certificates);
    Arc::new(move |stream| secure(Box::new(stream)))
}

/// Puts TLS around a stream.
type Secure = Arc<dyn Fn(Box<dyn Wire>) -> Box<dyn Wire> + Send + Sync>;

fn securing(certificates: &Certificates) -> Secure {
    let config = server_config(certificates);
    Arc::new(move |stream| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        Box::new(rustls::StreamOwned::new(session, stream))
    })
}

/// What a server with this certificate speaks.
pub(crate) fn server_config(certificates: &Certificates) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_file(&certificates.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let engine = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(engine)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// A port on which nothing listens.
pub fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// An HTTP server on this port; 0: on any.
pub fn http(port: u16, wrap: Wrap) -> Listener<HttpRequest> {
    Listener::start(port, wrap, |wire, mood, keep| {
        let request = read_request(wire)?;
        let (status, body) = match mood {
            Mood::Well => {
                keep(request);
                ("200 OK", r#"{"errcode":0,"errmsg":"ok"}"#)
            }
            Mood::Pretending => ("200 OK", r#"{"errcode":310000,"errmsg":"not in whitelist"}"#),
            Mood::Faulty => ("503 Service Unavailable", ""),
            Mood::Refusing => ("400 Bad Request", ""),
            Mood::Silent => {
                hold(wire);
                return None;
            }
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        wire.get_mut().write_all(answer.as_bytes()).ok()?;
        wire.get_mut().flush().ok()
    })
}

fn read_request(wire: &mut impl BufRead) -> Option<HttpRequest> {
    let line = read_line(wire)?;
    let mut headers = BTreeMap::new();
    loop {
        let field = read_line(wire)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    wire.read_exact(&mut body).ok()?;
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    Some(HttpRequest { line, headers, body: String::from_utf8(body).unwrap() })
}

/// Says nothing until the other side goes away.
fn hold(wire: &mut impl Read) {
    let _ = wire.read(&mut [0; 1]);
}

fn read_line(wire: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let bytes = wire.read_line(&mut line).ok()?;
    (bytes > 0).then(|| line.trim_end().to_owned())
}

/// An SMTP server (RFC 5321, AUTH PLAIN) on this port; 0: on any.
pub fn smtp(port: u16, wrap: Wrap) -> Listener<Mail> {
    smtp_with(port, wrap, None)
}

/// One that begins in the clear and takes mail only after STARTTLS (RFC 3207).
pub fn smtp_starttls(port: u16, certificates: &Certificates) -> Listener<Mail> {
    smtp_with(port, plain(), Some(securing(certificates)))
}

fn smtp_with(port: u16, wrap: Wrap, secure: Option<Secure>) -> Listener<Mail> {
    Listener::start(port, wrap, move |wire, mood, keep| {
        let mut secure = secure.clone();
        if mood == Mood::Silent {
            hold(wire);
            return None;
        }
        let mut mail = Mail { from: String::new(), to: vec![], account: None, text: String::new() };
        say(wire, "220 test ESMTP")?;
        while let Some(line) = read_line(wire) {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let bracketed = || rest.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match verb.to_uppercase().as_str() {
                "EHLO" if secure.is_some() => say(wire, "250-test\r\n250 STARTTLS")?,
                "STARTTLS" if secure.is_some() => {
                    say(wire, "220 go ahead")?;
                    let clear = std::mem::replace(wire.get_mut(), Box::new(std::io::empty()));
                    *wire.get_mut() = secure.take()?(clear);
                }
                "AUTH" | "MAIL" if secure.is_some() => say(wire, "530 not in the clear")?,
                "EHLO" => say(wire, "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN")?,
                "HELO" => say(wire, "250 test")?,
                "AUTH" => {
                    let encoded = rest.split_whitespace().nth(1).unwrap_or_default();
                    let account = String::from_utf8(base64(encoded)).unwrap();
                    mail.account = Some(account.trim_matches('\0').replace('\0', " "));
                    say(wire, "235 welcome")?;
                }
                "MAIL" => {
                    mail.from = bracketed();
                    match mood {
                        Mood::Faulty => say(wire, "451 try later")?,
                        _ => say(wire, "250 ok")?,
                    }
                }
                "RCPT" => {
                    mail.to.push(bracketed());
                    say(wire, "250 ok")?;
                }
                "DATA" => {
                    say(wire, "354 go ahead")?;
                    loop {
                        let line = read_line(wire)?;
                        if line == "." {
                            break;
                        }
                        mail.text += line.strip_prefix('.').unwrap_or(&line);
                        mail.text.push('\n');
                    }
                    if mood == Mood::Refusing {
                        say(wire, "554 refused")?;
                    } else {
                        mail.text = decoded(&mail.text);
                        keep(mail.clone());
                        say(wire, "250 taken")?;
                    }
                }
                "QUIT" => {
                    let _ = say(wire, "221 bye");
                    break;
                }
                _ => say(wire, "250 ok")?,
            }
        }
        Some(())
    })
}

fn say(wire: &mut BufReader<Box<dyn Wire>>, line: &str) -> Option<()> {
    wire.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
    wire.get_mut().flush().ok()
}

/// A mail's text as it was written.
fn decoded(mail: &str) -> String {
    let (head, body) = mail.split_once("\n\n").unwrap();
    let lower = head.to_lowercase();
    let body = if lower.contains("content-transfer-encoding: base64") {
        String::from_utf8(base64(&body.replace('\n', ""))).unwrap()
    } else if lower.contains("content-transfer-encoding: quoted-printable") {
        quoted_printable(body)
    } else {
        body.to_owned()
    };
    format!("{head}\n\n{}", body.replace("\r\n", "\n"))
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'=' {
            let hex = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
