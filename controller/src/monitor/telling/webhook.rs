//! An HTTP(S) server is told.

use std::sync::Arc;
use std::time::Duration;

use ssync_common::config::template::{Escape, fill};
use ssync_common::config::{Method, WebhookWay};
use ssync_common::error::{Error, Kind, Result};
use ureq::Agent;
use ureq::http::Request;
use ureq::http::request::Builder;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Failure, Message};

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Statuses that refuse one message, not the sender.
const REFUSED: [u16; 3] = [400, 413, 422];
const JSON: &str = "application/json";

/// Makes the request.
pub fn tell(way: &WebhookWay, message: &Message, timeout: Duration) -> Result<(), Failure> {
    // Whatever the client says of a failure, it may quote the address.
    let failed = |what: String| Error::new(Kind::Connect, message.without_secret(&what));
    let agent = agent(way, timeout)?;
    let no_good = |e: ureq::http::Error| {
        Error::new(Kind::Config, message.without_secret(&format!("the request is no good: {e}")))
    };
    let (request, body) = request(way, message);
    let answer = match body {
        Some(body) => agent.run(request.body(body).map_err(no_good)?),
        None => agent.run(request.body(()).map_err(no_good)?),
    };
    let mut answer = answer.map_err(|e| failed(format!("could not be reached: {e}")))?;
    let status = answer.status().as_u16();
    // An answer without text, or with one that is cut off, is still an answer.
    let text = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .unwrap_or_default();
    if !(200..300).contains(&status) {
        let error = failed(format!("the server answered with status {status}"));
        return Err(Failure { error, refused: REFUSED.contains(&status) });
    }
    match objection(&text, way.expect.as_deref()) {
        Some(what) => Err(Failure { error: failed(what), refused: true }),
        None => Ok(()),
    }
}

/// Why an answer of good status does not mean that the message was taken.
fn objection(answer: &str, expect: Option<&str>) -> Option<String> {
    let json: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let code = json.as_ref().and_then(|json| json.get("errcode")?.as_i64());
    if let Some(code) = code.filter(|code| *code != 0) {
        return Some(format!("the server refused the message with errcode {code}"));
    }
    let missing = expect.is_some_and(|expect| !answer.contains(expect));
    missing.then(|| "the server's answer does not contain what is expected of it".to_owned())
}

/// The request, and its body where it has one.
fn request(way: &WebhookWay, message: &Message) -> (Builder, Option<String>) {
    let value = |place: &str| message.value(place);
    let method = match way.method {
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Get => "GET",
    };
    let mut request = Request::builder().method(method).uri(fill(&way.url, Escape::Url, value));
    let mut content_type = JSON.to_owned();
    for (name, template) in &way.headers {
        let text = fill(template, Escape::Line, value);
        match name.eq_ignore_ascii_case("content-type") {
            true => content_type = text,
            false => request = request.header(name, text),
        }
    }
    if way.method == Method::Get {
        return (request, None);
    }
    let escape = match content_type.split(';').next().unwrap_or_default().trim() {
        kind if kind == JSON || kind.ends_with("+json") => Escape::Json,
        "application/x-www-form-urlencoded" => Escape::Url,
        _ => Escape::Plain,
    };
    let body = match &way.body {
        Some(template) => fill(template, escape, value),
        None => message.json.clone(),
    };
    (request.header("content-type", content_type), Some(body))
}

fn agent(way: &WebhookWay, timeout: Duration) -> Result<Agent> {
    // The engine that everything else uses; the client brings none.
    let engine = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(engine);
    if let Some(file) = &way.tls_ca_file {
        let wrong = |what: String| Error::new(Kind::Config, format!("{}: {what}", file.display()));
        let pem = std::fs::read(file).map_err(|e| wrong(format!("could not be read: {e}")))?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(wrong("has no certificate (PEM)".to_owned()));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        // A status is an answer; a redirection would take the secret elsewhere.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("ssync/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build();
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_can_refuse_in_spite_of_its_status() {
        assert_eq!(objection("", None), None);
        assert_eq!(objection(r#"{"errcode":0,"errmsg":"ok"}"#, None), None);
        let refused = objection(r#"{"errcode":310000,"errmsg":"keywords"}"#, None);
        assert!(refused.is_some_and(|what| what.contains("310000")));
        assert_eq!(objection("result=OK", Some("OK")), None);
        assert!(objection("result=ERROR", Some("OK")).is_some());
    }
}
