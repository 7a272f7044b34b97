//! Who is told what, and how: `[[receiver]]`, `[brief]`, `[monitor]`, `[retention]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::model::SecretSource;
use super::time::{Clock, Period};
use crate::event::{Severity, What};

/// Default of [`Receiver::timeout_secs`].
pub const RECEIVER_TIMEOUT_SECS: u64 = 10;
/// Default of [`Receiver::repeat`], in seconds.
pub const RECEIVER_REPEAT_SECS: u64 = 600;
/// Default of [`Monitor::progress_deadline`], in seconds.
pub const PROGRESS_DEADLINE_SECS: u64 = 600;
/// Default of [`Retention::days`].
pub const RETENTION_DAYS: u32 = 90;
/// Default of [`MailWay::subject`].
pub const MAIL_SUBJECT: &str = "ssync: {title}";
/// Default of [`MailWay::body`].
pub const MAIL_BODY: &str = "{text}\n\n{host}, {time}\n";

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Name, unique.
    pub name: String,
    /// How.
    #[serde(flatten)]
    pub way: Way,
    /// Of what; empty: of everything but finished tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<What>,
    /// Only of what matters at least so much. The daily brief, and what `events` names, always.
    #[serde(default)]
    pub severity: Severity,
    /// Seconds that one attempt may take.
    #[serde(default = "timeout_secs")]
    pub timeout_secs: u64,
    /// The same about the same table is not told again within this time.
    #[serde(default = "repeat")]
    pub repeat: Period,
}

impl Receiver {
    /// Whether this is something to be told.
    pub fn wants(&self, what: What, severity: Severity) -> bool {
        match self.events.as_slice() {
            [] => match what {
                What::TableDone => false,
                What::DailyBrief => true,
                _ => severity >= self.severity,
            },
            named => named.contains(&what),
        }
    }

    /// Whether it is told of finished tables.
    pub fn wants_tables(&self) -> bool {
        self.events.contains(&What::TableDone)
    }
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Way {
    /// A program is started.
    Command(CommandWay),
    /// An HTTP request is made.
    Webhook(WebhookWay),
    /// A mail is sent.
    Mail(MailWay),
}

impl Way {
    /// The word in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Way::Command(_) => "command",
            Way::Webhook(_) => "webhook",
            Way::Mail(_) => "mail",
        }
    }

    /// Where its secret comes from.
    pub fn secret(&self) -> Option<&SecretSource> {
        match self {
            Way::Command(_) => None,
            Way::Webhook(way) => way.secret.as_ref(),
            Way::Mail(way) => way.password.as_ref(),
        }
    }
}

/// A program, with the event as JSON on standard input. Exit code 0: told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandWay {
    /// The program by its absolute path, and its arguments: templates, each stays one argument.
    pub command: Vec<String>,
}

/// An HTTP(S) request. An answer of 200 to 299: told, unless the answer itself says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookWay {
    /// Where to; a template.
    pub url: String,
    /// `POST`, `PUT` or `GET`.
    #[serde(default)]
    pub method: Method,
    /// Header fields; templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent; a template. Absent: the event as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// What `{secret}` stands for in the templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// Certificate authorities (PEM) instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
}

/// HTTP methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Post,
    Put,
    Get,
}

/// A mail by SMTP. Accepted by the server: told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailWay {
    /// The server, `host` or `host:port`; port 587 unless said, 465 with `tls = "implicit"`, 25
    /// with `tls = "off"`.
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// Certificate authorities (PEM) instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Account at the server, where it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where its password comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// Sender: `ssync@example.com` or `ssync <ssync@example.com>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// Subject; a template.
    #[serde(default = "mail_subject")]
    pub subject: String,
    /// Text; a template.
    #[serde(default = "mail_body")]
    pub body: String,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// TLS is begun in the connection (STARTTLS), and nothing is sent without.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// None.
    Off,
}

/// Language of the brief and of titles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

/// The daily brief (A12, A27).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// When it is sent, by the host's clock; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Clock>,
    /// Its language, and that of titles.
    #[serde(default)]
    pub language: Language,
}

/// What the monitor looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// A running task of which nothing moves for so long is told to be stuck.
    pub progress_deadline: Period,
}

impl Default for Monitor {
    fn default() -> Self {
        Monitor { progress_deadline: period(PROGRESS_DEADLINE_SECS) }
    }
}

/// How long records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Days that runs, finished tables, rows that were put right, and events are kept.
    pub days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { days: RETENTION_DAYS }
    }
}

fn period(secs: u64) -> Period {
    // The constants above are positive.
    Period::from_secs(secs).unwrap_or(Period::SECOND)
}
fn timeout_secs() -> u64 {
    RECEIVER_TIMEOUT_SECS
}
pub(super) fn repeat() -> Period {
    period(RECEIVER_REPEAT_SECS)
}
fn mail_subject() -> String {
    MAIL_SUBJECT.to_owned()
}
fn mail_body() -> String {
    MAIL_BODY.to_owned()
}
