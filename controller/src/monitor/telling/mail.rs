//! People are told by mail.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};
use ssync_common::config::template::{Escape, fill};
use ssync_common::config::{MailTls, MailWay};
use ssync_common::error::{Error, Kind, Result};

use super::{Failure, Message};

/// Replies that refuse one mail for what it is: too large, content not accepted.
const REFUSED: [u16; 2] = [552, 554];

/// Sends the mail.
pub fn tell(way: &MailWay, message: &Message, timeout: Duration) -> Result<(), Failure> {
    let mail = mail(way, message)?;
    let transport = transport(way, message, timeout)?;
    match transport.send(&mail) {
        Ok(_) => Ok(()),
        Err(e) => {
            // The server's own words may name addresses, never the password.
            let code = e.status().map(u16::from);
            let error = Error::new(
                Kind::Connect,
                message.without_secret(&format!("the mail was not sent: {}", causes(&e))),
            );
            Err(Failure { error, refused: code.is_some_and(|code| REFUSED.contains(&code)) })
        }
    }
}

/// The error with what is beneath it, which says what really went wrong.
fn causes(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(beneath) = cause {
        let more = beneath.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = beneath.source();
    }
    text
}

fn mail(way: &MailWay, message: &Message) -> Result<lettre::Message> {
    let value = |place: &str| message.value(place);
    let address = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|e| Error::new(Kind::Config, format!("{text:?} is no address: {e}")))
    };
    let mut mail = lettre::Message::builder()
        .from(address(&way.from)?)
        .subject(fill(&way.subject, Escape::Line, value))
        // The same event told twice is one mail for programs that look.
        .message_id(Some(format!("<{}@ssync>", id_token(&message.event.id))));
    for to in &way.to {
        mail = mail.to(address(to)?);
    }
    mail.header(ContentType::TEXT_PLAIN)
        .body(fill(&way.body, Escape::Plain, value))
        .map_err(|e| Error::new(Kind::Config, format!("the mail is no good: {e}")))
}

/// An id as it may stand in a `Message-ID`.
fn id_token(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '.' }).collect()
}

fn transport(way: &MailWay, message: &Message, timeout: Duration) -> Result<SmtpTransport> {
    let (host, port) = match way.server.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (way.server.as_str(), None),
    };
    let usual = match way.tls {
        MailTls::Starttls => 587,
        MailTls::Implicit => 465,
        MailTls::Off => 25,
    };
    let tls = match way.tls {
        MailTls::Starttls => Tls::Required(tls(way, host)?),
        MailTls::Implicit => Tls::Wrapper(tls(way, host)?),
        MailTls::Off => Tls::None,
    };
    let mut transport = SmtpTransport::builder_dangerous(host)
        .port(port.unwrap_or(usual))
        .tls(tls)
        .hello_name(ClientId::Domain(message.event.host.clone()))
        .timeout(Some(timeout));
    if let (Some(user), Some(password)) = (&way.user, &message.secret) {
        transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(transport.build())
}

fn tls(way: &MailWay, host: &str) -> Result<TlsParameters> {
    let wrong = |what: String| Error::new(Kind::Config, what);
    let mut tls: TlsParametersBuilder = TlsParameters::builder(host.to_owned());
    tls = match &way.tls_ca_file {
        None => tls.certificate_store(CertificateStore::WebpkiRoots),
        Some(file) => {
            let shown = file.display();
            let pem = std::fs::read(file)
                .map_err(|e| wrong(format!("{shown}: could not be read: {e}")))?;
            let certificate = Certificate::from_pem(&pem)
                .map_err(|e| wrong(format!("{shown}: is no certificate (PEM): {e}")))?;
            tls.certificate_store(CertificateStore::None).add_root_certificate(certificate)
        }
    };
    tls.build_rustls().map_err(|e| wrong(format!("TLS: {}", causes(&e))))
}
