//! What must hold for those who are told.

use url::Url;

use super::model::SecretSource;
use super::option::check;
use super::receivers::*;
use super::template::{check_template, has_place};
use super::validate::{Findings, secret_source};

/// Words that a secret goes by.
const SECRET_WORDS: [&str; 7] = ["auth", "token", "secret", "password", "passwd", "key", "sign"];

pub fn receiver(receiver: &Receiver, found: &mut Findings) {
    let at = |key: &str| format!("receiver[{}].{key}", receiver.name);
    found.name(&at("name"), &receiver.name);
    check(receiver, &at, found);
    match &receiver.way {
        Way::Command(way) => command(way, &at, found),
        Way::Webhook(way) => webhook(way, &at, found),
        Way::Mail(way) => mail(way, &at, found),
    }
    match receiver.way.secret() {
        Some(SecretSource::Stored { .. }) => {
            let key = if matches!(receiver.way, Way::Mail(_)) { "password" } else { "secret" };
            found.add(
                at(key),
                "secrets of receivers are not stored in the configuration database; use \
                 { env = \"NAME\" } or { file = \"/path\" }",
            );
        }
        Some(source) => {
            let key = if matches!(receiver.way, Way::Mail(_)) { "password" } else { "secret" };
            secret_source(&at(key), source, found);
        }
        None => {}
    }
}

fn template(path: String, text: &str, secret: bool, found: &mut Findings) {
    if let Err(message) = check_template(text, secret) {
        found.add(path, message);
    }
}

fn command(way: &CommandWay, at: &impl Fn(&str) -> String, found: &mut Findings) {
    check(way, at, found);
    match way.command.first() {
        None => found.add(at("command"), "names no program"),
        Some(program) if !program.starts_with('/') => {
            found.add(at("command[#1]"), "must be the absolute path of a program");
        }
        Some(_) => {}
    }
    for (i, argument) in way.command.iter().enumerate() {
        template(at(&format!("command[#{}]", i + 1)), argument, false, found);
    }
}

fn webhook(way: &WebhookWay, at: &impl Fn(&str) -> String, found: &mut Findings) {
    check(way, at, found);
    let secret = way.secret.is_some();
    template(at("url"), &way.url, secret, found);
    if let Err(message) = check_webhook_url(&way.url) {
        found.add(at("url"), message);
    }
    for (name, value) in &way.headers {
        let path = at(&format!("headers[{name}]"));
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            found.add(path.clone(), "is not the name of a header field");
        }
        if value.chars().any(char::is_control) {
            found.add(path.clone(), "must be one line");
        }
        if is_secret_word(name) && !has_place(value, "secret") {
            found.add(
                path.clone(),
                "holds a secret, which does not stand in the configuration; write {secret} in its \
                 place and say where it comes from: secret = { env = \"NAME\" }",
            );
        }
        template(path, value, secret, found);
    }
    if let Some(body) = &way.body {
        template(at("body"), body, secret, found);
        if way.method == Method::Get {
            found.add(at("body"), "is not sent with method = \"GET\"");
        }
    }
    let texts = || way.headers.values().chain(&way.body).chain([&way.url]);
    if secret && !texts().any(|text| has_place(text, "secret")) {
        found.add(at("secret"), "is used nowhere; write {secret} where it belongs");
    }
    ca_file(way.tls_ca_file.as_deref(), at, found);
}

fn is_secret_word(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The message never shows the URL, which may hold a secret.
fn check_webhook_url(url: &str) -> Result<(), String> {
    // A place in braces is no URL yet; what it stands for does not matter here.
    let plain = url.replace(['{', '}'], "");
    let parsed =
        Url::parse(&plain).map_err(|e| format!("is not a URL ({e}); write https://host/path"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".to_owned());
    }
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('{') {
        return Err("must name its host, not a place in braces".to_owned());
    }
    if host.contains('@') {
        return Err("takes no user and password; write a header field such as Authorization = \
                    \"Basic {secret}\""
            .to_owned());
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if is_secret_word(name) && !has_place(value, "secret") {
            return Err(format!(
                "holds a secret, which does not stand in the configuration; write {name}={{secret}} \
                 and say where it comes from: secret = {{ env = \"NAME\" }}"
            ));
        }
    }
    Ok(())
}

fn mail(way: &MailWay, at: &impl Fn(&str) -> String, found: &mut Findings) {
    check(way, at, found);
    let (host, port) = way.server.split_once(':').unwrap_or((&way.server, "25"));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(good) || port.parse::<u16>().map_or(true, |p| p == 0) {
        found.add(at("server"), "must be host or host:port of a mail server");
    }
    if way.to.is_empty() {
        found.add(at("to"), "names nobody");
    }
    let to = way.to.iter().enumerate().map(|(i, to)| (format!("to[#{}]", i + 1), to));
    for (key, address) in std::iter::once(("from".to_owned(), &way.from)).chain(to) {
        if !is_address(address) {
            found.add(at(&key), "must be an address: name@example.com or Name <name@example.com>");
        }
    }
    match (&way.user, &way.password) {
        (Some(_), None) => found.add(at("user"), "has no password; say where it comes from"),
        (None, Some(_)) => found.add(at("password"), "has no user"),
        (Some(_), Some(_)) if way.tls == MailTls::Off => {
            found.add(at("tls"), "must not be \"off\" where a password is sent");
        }
        _ => {}
    }
    template(at("subject"), &way.subject, false, found);
    template(at("body"), &way.body, false, found);
    ca_file(way.tls_ca_file.as_deref(), at, found);
}

/// Roughly: whoever sends it knows better.
fn is_address(text: &str) -> bool {
    let bare = match text.split_once('<') {
        Some((_, rest)) => rest.trim_end().strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c);
    !text.chars().any(char::is_control)
        && bare.rsplit_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !bare.chars().any(odd)
        })
}

fn ca_file(file: Option<&std::path::Path>, at: &impl Fn(&str) -> String, found: &mut Findings) {
    if file.is_some_and(|file| !file.is_absolute()) {
        found.add(at("tls_ca_file"), "must be an absolute path");
    }
}
