//! Who is told what, and how: `[[receiver]]`, `[brief]`, `[monitor]`, `[retention]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::model::SecretSource;
use super::option::{Limit, Node, OptionType, options, section};
use super::option_types::words;
use super::time::{Clock, Period};
use crate::event::{Severity, What};

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
    /// The same about the same table is not told again within this time; a failure of another cause is.
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

section! {
    /// A program, with the event as JSON on standard input. Exit code 0: told.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CommandWay in "[[receiver]], kind = \"command\"" {
        /// Absolute path of the program, and its arguments: templates, each stays one argument. No
        /// shell is involved.
        command: Vec<String> = required();
    }
}

section! {
    /// An HTTP(S) request. An answer of 200 to 299: told, unless the answer itself says otherwise.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct WebhookWay in "[[receiver]], kind = \"webhook\"" {
        /// Where to; a template. Without user, password or token: those are `{secret}`.
        url: String = required();

        /// HTTP method. A body is not sent with `"GET"`.
        method: Method = unset().shown();

        /// Header fields; templates. `Content-Type` is `application/json` unless said.
        headers: BTreeMap<String, String> = unset();

        /// What is sent; a template. Values are escaped as JSON strings, as a form where
        /// `Content-Type` says so, and not at all for other types.
        body: Option<String> = unset().default_words("the event as JSON");

        /// A text that the answer must contain.
        expect: Option<String> = unset();

        /// What `{secret}` stands for: `{ env = "…" }` or `{ file = "…" }`.
        secret: Option<SecretSource> = unset();

        /// Certificate authorities (PEM) that the server's certificate is checked with.
        tls_ca_file: Option<PathBuf> = unset().default_words("public authorities");
    }
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

section! {
    /// A mail by SMTP. Accepted by the server: told.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MailWay in "[[receiver]], kind = \"mail\"" {
        /// `host` or `host:port` of the mail server; the port is 587 unless said, 465 with
        /// `tls = "implicit"`, 25 with `tls = "off"`.
        server: String = required();

        /// `"starttls"`: TLS is begun in the connection, and nothing is sent without; `"implicit"`:
        /// TLS from the start; `"off"`: none, and then no password either.
        tls: MailTls = unset().shown();

        /// Certificate authorities (PEM) that the server's certificate is checked with.
        tls_ca_file: Option<PathBuf> = unset().default_words("public authorities");

        /// Account at the server, where it wants one.
        user: Option<String> = unset();

        /// Where its password comes from: `{ env = "…" }` or `{ file = "…" }`.
        password: Option<SecretSource> = unset();

        /// Sender: `ssync@example.com` or `ssync <ssync@example.com>`.
        from: String = required();

        /// List of those who get it.
        to: Vec<String> = required();

        /// Subject; a template.
        subject: String = default(|| "ssync: {title}".to_owned()).shown();

        /// Text; a template.
        body: String = default(|| "{text}\n\n{host}, {time}\n".to_owned()).shown();
    }
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

section! {
    /// The daily brief (A12, A27).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Brief in "[brief]" {
        /// When the brief of the day before is sent, by the host's clock: `"08:30"`. It covers the
        /// time since the brief before.
        at: Option<Clock> = unset().default_words("never");

        /// Language of the brief and of titles.
        language: Language = unset().shown();
    }
}

section! {
    /// What the monitor looks for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Monitor in "[monitor]" {
        /// A running task of which nothing has moved for so long is told as `task_stuck`. One that
        /// is paused is not stuck.
        progress_deadline: Period = default(|| Period::TEN_MINUTES).shown();
    }
}

section! {
    /// How long records are kept.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Retention in "[retention]" {
        /// Days that runs, finished tables and events are kept. The monitor removes older ones once
        /// a day. Kept all the same: the last run of every table, runs that are open, bad rows that
        /// nobody has put right with their runs, and what a restored destination is compared with.
        days: u32 = default(|| 90).range(1, 36_500).shown();
    }
}

options! { Receiver in "[[receiver]]" {
    /// Name, unique.
    name: String = required().names_entry("");

    /// `"webhook"`: an HTTP(S) request; `"mail"`: a mail by SMTP; `"command"`: a program is started.
    way as "kind": Way = required().read_apart();

    /// What is told, whatever its severity: see [events](#events).
    events: Vec<What> = unset().default_words("all but `table_done`");

    /// Without `events`: only what matters at least so much; the daily brief always.
    severity: Severity = unset().shown();

    /// Seconds that one attempt may take.
    timeout_secs: u64 = default(timeout_secs).range(1, 300).shown();

    /// The same event about the same table is not told again within this time; a failure of another cause is.
    repeat: Period = default(repeat).shown();
} }

words! {
    Method { "POST" = Post, "PUT" = Put, "GET" = Get }
    MailTls { "starttls" = Starttls, "implicit" = Implicit, "off" = Off }
    Language { "en" = En, "zh" = Zh }
}

impl OptionType for Way {
    fn types(_: Option<Limit>) -> String {
        "`\"webhook\"`, `\"mail\"`, `\"command\"`".to_owned()
    }

    /// Its keys stand beside those of its receiver, which reads it ([`super::read_receivers`]).
    fn read(_: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        None
    }

    fn placeholder() -> Self {
        Way::Command(CommandWay::default())
    }

    fn shown(&self) -> String {
        format!("`{:?}`", self.kind())
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        Way::Webhook(WebhookWay { url: "https://a".to_owned(), ..WebhookWay::default() })
    }
}

fn timeout_secs() -> u64 {
    10
}

fn repeat() -> Period {
    Period::TEN_MINUTES
}
