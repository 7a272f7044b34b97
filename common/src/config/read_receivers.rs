//! `[[receiver]]`, `[brief]`, `[monitor]` and `[retention]` from TOML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::limits;
use super::read::{finish, name, number, secret_source, strings, text};
use super::receivers::*;
use super::section::{Node, Section};
use crate::event::{Severity, What};

const RECEIVER: &str = "[[receiver]]";
const BRIEF: &str = "[brief]";
const MONITOR: &str = "[monitor]";
const RETENTION: &str = "[retention]";

pub fn receiver(section: Section<'_>) -> Receiver {
    let severities = [Severity::Info, Severity::Warning, Severity::Error].map(|s| (s.name(), s));
    let whats: Vec<_> = What::ALL.iter().map(|w| (w.name(), *w)).collect();
    let events = section.optional("events").map(|n| n.elements(|_, n| format!("#{n}")));
    let receiver = Receiver {
        name: name(&section),
        way: way(&section),
        events: events.unwrap_or_default().iter().filter_map(|n| n.choice(&whats)).collect(),
        severity: section
            .optional("severity")
            .and_then(|n| n.choice(&severities))
            .unwrap_or_default(),
        timeout_secs: number(
            &section,
            "timeout_secs",
            &limits::RECEIVER_TIMEOUT_SECS,
            RECEIVER_TIMEOUT_SECS,
        ),
        repeat: section.optional("repeat").and_then(|n| n.parsed()).unwrap_or_else(repeat),
    };
    finish(section, RECEIVER);
    receiver
}

fn way(section: &Section<'_>) -> Way {
    // Without a kind no key can be asked for; none is then complained about.
    let kinds = [("command", 0), ("webhook", 1), ("mail", 2)];
    let kind = section.required("kind").and_then(|n| n.choice(&kinds));
    let optional = |key| section.optional(key).and_then(|n| n.string());
    let path = |key| optional(key).map(PathBuf::from);
    let secret = |key| section.optional(key).and_then(|n| secret_source(&n));
    match kind {
        Some(1) => {
            let methods = [("POST", Method::Post), ("PUT", Method::Put), ("GET", Method::Get)];
            Way::Webhook(WebhookWay {
                url: text(section, "url"),
                method: section
                    .optional("method")
                    .and_then(|n| n.choice(&methods))
                    .unwrap_or_default(),
                headers: headers(section),
                body: optional("body"),
                expect: optional("expect"),
                secret: secret("secret"),
                tls_ca_file: path("tls_ca_file"),
            })
        }
        Some(2) => {
            let tls = [
                ("starttls", MailTls::Starttls),
                ("implicit", MailTls::Implicit),
                ("off", MailTls::Off),
            ];
            Way::Mail(MailWay {
                server: text(section, "server"),
                tls: section.optional("tls").and_then(|n| n.choice(&tls)).unwrap_or_default(),
                tls_ca_file: path("tls_ca_file"),
                user: optional("user"),
                password: secret("password"),
                from: text(section, "from"),
                to: section.required("to").map(|n| n.strings()).unwrap_or_default(),
                subject: optional("subject").unwrap_or_else(|| MAIL_SUBJECT.to_owned()),
                body: optional("body").unwrap_or_else(|| MAIL_BODY.to_owned()),
            })
        }
        Some(_) => {
            let there = section.required("command").is_some();
            let command = if there { strings(section, "command") } else { Vec::new() };
            Way::Command(CommandWay { command })
        }
        None => {
            section.accept_everything();
            section.is_broken_at("command");
            Way::Command(CommandWay { command: Vec::new() })
        }
    }
}

fn headers(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(map) = section.optional("headers").and_then(|n| n.section()) else {
        return BTreeMap::new();
    };
    let read = |(name, node): (String, Node<'_>)| Some((name, node.string()?));
    map.entries().into_iter().filter_map(read).collect()
}

pub fn brief(section: Section<'_>) -> Brief {
    let languages = [("en", Language::En), ("zh", Language::Zh)];
    let brief = Brief {
        at: section.optional("at").and_then(|n| n.parsed()),
        language: section
            .optional("language")
            .and_then(|n| n.choice(&languages))
            .unwrap_or_default(),
    };
    finish(section, BRIEF);
    brief
}

pub fn monitor(section: Section<'_>) -> Monitor {
    let deadline = section.optional("progress_deadline").and_then(|n| n.parsed());
    let monitor =
        Monitor { progress_deadline: deadline.unwrap_or(Monitor::default().progress_deadline) };
    finish(section, MONITOR);
    monitor
}

pub fn retention(section: Section<'_>) -> Retention {
    let days = number(&section, "days", &limits::RETENTION_DAYS, RETENTION_DAYS.into());
    let retention = Retention { days: u32::try_from(days).unwrap_or(RETENTION_DAYS) };
    finish(section, RETENTION);
    retention
}
