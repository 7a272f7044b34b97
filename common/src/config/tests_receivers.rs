#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::event::{Severity, What};

/// The example of the documentation, complete.
const GOOD: &str = r#"
[[receiver]]
name = "oncall"
kind = "webhook"
url = "https://oapi.dingtalk.com/robot/send?access_token={secret}"
secret = { env = "DINGTALK_TOKEN" }
headers = { "X-From" = "ssync {host}" }
body = '{"msgtype":"text","text":{"content":"ssync {title}\n{text}"}}'
severity = "error"
repeat = "30m"

[[receiver]]
name = "team"
kind = "mail"
server = "mail.example.com"
user = "ssync"
password = { file = "/etc/ssync/mail.password" }
from = "ssync <ssync@example.com>"
to = ["dba@example.com", "ops@example.com"]
events = ["daily_brief", "task_suspended"]

[[receiver]]
name = "pager"
kind = "command"
command = ["/usr/local/bin/page", "--about", "task {task}"]
timeout_secs = 30

[brief]
at = "08:30"
language = "zh"

[monitor]
progress_deadline = "5m"

[retention]
days = 30
"#;

fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    match Config::from_toml(&GOOD.replacen(from, to, 1)) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_is_read() {
    let config = Config::from_toml(GOOD).unwrap();
    let [oncall, team, pager] = &config.receivers[..] else { panic!() };
    assert_eq!([oncall, team, pager].map(|r| r.way.kind()), ["webhook", "mail", "command"]);
    assert_eq!(config.brief.at.unwrap().to_string(), "08:30");
    assert_eq!(config.brief.language, Language::Zh);
    assert_eq!(config.monitor.progress_deadline.secs(), 300);
    assert_eq!(config.retention.days, 30);
    let Way::Mail(mail) = &team.way else { panic!() };
    assert_eq!((mail.tls, mail.subject.as_str()), (MailTls::Starttls, "ssync: {title}"));
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
}

#[test]
fn a_receiver_gets_what_it_wants_and_the_brief() {
    let config = Config::from_toml(GOOD).unwrap();
    let [oncall, team, pager] = &config.receivers[..] else { panic!() };
    let wants = |r: &Receiver, what: What| r.wants(what, what.severity());
    assert!(wants(oncall, What::TaskStuck) && !wants(oncall, What::RowsBad));
    assert!(wants(oncall, What::DailyBrief) && !wants(oncall, What::ControllerStarted));
    assert!(wants(team, What::TaskSuspended) && !wants(team, What::TaskStuck));
    assert!(wants(pager, What::ControllerStarted) && !wants(pager, What::TableDone));
}

#[test]
fn every_mistake_has_its_path() {
    let cases = [
        ("kind = \"webhook\"", "kind = \"webhok\"", "receiver[oncall].kind: \"webhok\" is unknown"),
        ("kind = \"webhook\"\n", "", "receiver[oncall].kind: is missing"),
        ("severity = \"error\"", "severity = \"fatal\"", "receiver[oncall].severity: "),
        ("repeat = \"30m\"", "repeat = \"0s\"", "receiver[oncall].repeat: "),
        ("timeout_secs = 30", "timeout_secs = 0", "receiver[pager].timeout_secs: "),
        ("timeout_secs = 30", "url = \"https://x\"", "receiver[pager]: unknown key url"),
        ("\"task_suspended\"", "\"task_suspnded\"", "receiver[team].events[#2]: "),
        ("{text}\"}}'", "{txt}\"}}'", "receiver[oncall].body: has an unknown place {txt}"),
        ("={secret}", "=abc&b={secret}", "receiver[oncall].url: holds a secret"),
        ("https://oapi", "https://u:p@oapi", "receiver[oncall].url: takes no user"),
        ("https://oapi", "ftp://oapi", "receiver[oncall].url: must begin"),
        ("\"X-From\"", "\"Authorization\"", "receiver[oncall].headers[Authorization]: holds a sec"),
        ("\"X-From\"", "\"X From\"", "receiver[oncall].headers[X From]: is not the name"),
        ("mail.example.com\"", "mail.example.com:0\"", "receiver[team].server: "),
        ("user = \"ssync\"\n", "", "receiver[team].password: has no user"),
        ("user = \"ssync\"\n", "user = \"ssync\"\ntls = \"off\"\n", "receiver[team].tls: "),
        ("{ file = \"/etc/ssync/mail.password\" }", "{ stored = true }", "receiver[team].password"),
        ("\"ops@example.com\"", "\"ops\"", "receiver[team].to[#2]: must be an address"),
        ("\"/usr/local/bin/page\"", "\"page\"", "receiver[pager].command[#1]: "),
        ("\"task {task}\"", "\"{secret}\"", "receiver[pager].command[#3]: uses {secret}"),
        ("\"08:30\"", "\"8.30\"", "brief.at: "),
        ("\"zh\"", "\"fr\"", "brief.language: "),
        ("\"5m\"", "\"5\"", "monitor.progress_deadline: "),
        ("days = 30", "days = 0", "retention.days: 0 is outside"),
        ("days = 30", "dyas = 30", "retention: unknown key dyas (did you mean days?)"),
        ("name = \"pager\"", "name = \"team\"", "receiver[team].name: team is used twice"),
    ];
    for (from, to, wanted) in cases {
        let found = changed(from, to);
        assert!(found.len() == 1 && found[0].contains(wanted), "{to}: {found:#?}");
    }
    // Without the secret the place for it has no meaning, and the other way round.
    let found = changed("secret = { env = \"DINGTALK_TOKEN\" }\n", "");
    assert!(found[0].contains("uses {secret}"), "{found:#?}");
    let found = changed("access_token={secret}", "a=b");
    assert!(found[0].contains("is used nowhere"), "{found:#?}");
}

#[test]
fn a_refusal_shows_no_secret() {
    for (from, to) in [
        ("={secret}", "=hunter2"),
        ("https://oapi", "https://u:hunter2@oapi"),
        ("\"X-From\" = \"ssync {host}\"", "\"Authorization\" = \"hunter2\""),
        ("{ env = \"DINGTALK_TOKEN\" }", "\"hunter2\""),
    ] {
        let found = changed(from, to);
        assert!(!found.is_empty() && !found.join("\n").contains("hunter2"), "{found:#?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-z é\"\\\\\n{}]{0,20}".prop_filter("a place", |t| template::check_template(t, false).is_ok())
}

fn source() -> impl Strategy<Value = SecretSource> {
    prop_oneof![
        "[A-Z]{1,8}".prop_map(|env| SecretSource::Env { env }),
        "/[a-z]{1,8}".prop_map(|file| SecretSource::File { file: file.into() })
    ]
}

fn way() -> impl Strategy<Value = Way> {
    let address = || "[a-z]{1,5}@[a-z]{1,5}";
    let ca = || option::of("/[a-z]{1,5}".prop_map(std::path::PathBuf::from));
    prop_oneof![
        vec(text(), 0..3).prop_map(|mut command| {
            command.insert(0, "/bin/tell".into());
            Way::Command(CommandWay { command })
        }),
        (
            any::<bool>(),
            btree_map("X-[a-d]{1,3}", "[a-z ]{0,9}", 0..3),
            option::of(text()),
            option::of(source()),
            ca(),
        )
            .prop_map(|(put, headers, body, secret, tls_ca_file)| {
                let place = if secret.is_some() { "?token={secret}" } else { "" };
                let mut way = WebhookWay {
                    url: format!("https://example.com/{place}"),
                    method: if put { Method::Put } else { Method::Post },
                    headers,
                    expect: body.clone(),
                    body,
                    secret,
                    ..WebhookWay::default()
                };
                way.tls_ca_file = tls_ca_file;
                Way::Webhook(way)
            }),
        (
            option::of(source()),
            select(vec![MailTls::Starttls, MailTls::Implicit]),
            address(),
            vec(address(), 1..3),
            text(),
            text(),
            ca(),
        )
            .prop_map(|(password, tls, from, to, subject, body, tls_ca_file)| {
                let mut way = MailWay {
                    server: "mail.example.com:2525".into(),
                    tls,
                    user: password.as_ref().map(|_| "ssync".into()),
                    password,
                    from,
                    to,
                    subject,
                    body,
                    ..MailWay::default()
                };
                way.tls_ca_file = tls_ca_file;
                Way::Mail(way)
            }),
    ]
}

/// Valid receivers and settings of the installation, to be put into a configuration.
pub(super) fn told() -> impl Strategy<Value = (Vec<Receiver>, Brief, Monitor, Retention)> {
    let severity = select(vec![Severity::Info, Severity::Warning, Severity::Error]);
    let receiver = (way(), vec(select(What::ALL), 0..3), severity, 1..=300u64, 1..9999u64);
    let at =
        option::of((0..24, 0..60).prop_map(|(h, m)| format!("{h:02}:{m:02}").parse().unwrap()));
    let language = select(vec![Language::En, Language::Zh]);
    let rest = (at, language, 1..9999u64, 1..=36_500u32);
    (vec(receiver, 0..3), rest).prop_map(|(receivers, (at, language, deadline, days))| {
        let receiver = |(n, (way, events, severity, timeout_secs, repeat))| Receiver {
            name: format!("r{n}"),
            way,
            events,
            severity,
            timeout_secs,
            repeat: Period::from_secs(repeat).unwrap(),
        };
        let progress_deadline = Period::from_secs(deadline).unwrap();
        (
            receivers.into_iter().enumerate().map(receiver).collect(),
            Brief { at, language },
            Monitor { progress_deadline },
            Retention { days },
        )
    })
}
