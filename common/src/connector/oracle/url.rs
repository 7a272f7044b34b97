//! Where an Oracle database is, and as whom: the URL of a link.
//!
//! `oracle://user@host:port/service`, or `oracle://user@(DESCRIPTION=…)` with a connect descriptor
//! on one line.

use url::Url;

use crate::connector::percent_decoded;

/// The listener's port where the URL names none.
pub(crate) const PORT: u16 = 1521;
/// The same, for TLS.
pub(crate) const TLS_PORT: u16 = 2484;

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OracleUrl {
    /// The user, as typed (Oracle folds case unless it is quoted).
    pub user: String,
    /// Where the database is.
    pub place: Place,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A listener and the name of a service.
    Service {
        /// Name or address; an IPv6 address in brackets.
        host: String,
        /// Port, where the URL names one; else [`PORT`] or [`TLS_PORT`].
        port: Option<u16>,
        /// Service name.
        service: String,
    },
    /// A connect descriptor, taken as it is.
    Descriptor(String),
}

const FORM: &str = "write oracle://user@host:port/service";

const PASSWORD: &str = "a password in the URL is refused, since URLs are stored and shown; write \
                        oracle://user@host:port/service and give the password as \
                        password = { env = \"NAME\" }, { file = \"/path\" } or { stored = true }";

/// Reads a URL.
///
/// # Errors
/// What is wrong with it, without showing it.
pub(crate) fn parse(url: &str) -> Result<OracleUrl, String> {
    let rest =
        url.strip_prefix("oracle://").ok_or_else(|| format!("is no URL of Oracle; {FORM}"))?;
    if let Some((user, descriptor)) = rest.split_once('@')
        && descriptor.starts_with('(')
    {
        if user.contains([':', '/']) {
            return Err(PASSWORD.to_owned());
        }
        return Ok(OracleUrl { user: user_of(user)?, place: descriptor_of(descriptor)? });
    }
    let parsed = Url::parse(url).map_err(|e| format!("is not a URL ({e}); {FORM}"))?;
    if parsed.password().is_some() {
        return Err(PASSWORD.to_owned());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(
            "takes no options; they are keys of [[link]], or stand in a connect descriptor"
                .to_owned(),
        );
    }
    let host = parsed.host_str().filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| format!("names no host; {FORM}"))?;
    let service = parsed.path().trim_start_matches('/');
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.$#".contains(c);
    if service.is_empty() || !service.chars().all(good) {
        return Err(format!("names no service; {FORM}"));
    }
    let place =
        Place::Service { host: host.to_owned(), port: parsed.port(), service: service.to_owned() };
    Ok(OracleUrl { user: user_of(parsed.username())?, place })
}

fn user_of(text: &str) -> Result<String, String> {
    let user = percent_decoded(text).ok_or("the user is not UTF-8")?;
    if user.is_empty() { Err(format!("names no user; {FORM}")) } else { Ok(user) }
}

fn descriptor_of(text: &str) -> Result<Place, String> {
    let mut depth = 0i32;
    let mut closed_at = None;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if c.is_control() => {
                return Err("a connect descriptor stands on one line".to_owned());
            }
            _ => {}
        }
        if depth == 0 && closed_at.is_none() {
            closed_at = Some(i + 1);
        }
    }
    if depth != 0 || closed_at != Some(text.len()) {
        return Err("the parentheses of the connect descriptor do not match".to_owned());
    }
    let upper = text.to_ascii_uppercase();
    let inside: String = upper.chars().filter(|c| !c.is_whitespace()).collect();
    if !inside.starts_with("(DESCRIPTION=") && !inside.starts_with("(DESCRIPTION_LIST=") {
        return Err("a connect descriptor begins with (DESCRIPTION=".to_owned());
    }
    if ["(PASSWORD=", "(WALLET_PASSWORD="].iter().any(|p| inside.contains(p)) {
        return Err(PASSWORD.to_owned());
    }
    Ok(Place::Descriptor(text.to_owned()))
}

/// What in a connect descriptor would let something be said in the clear, or to a server of
/// another name; `None` where every address is reached by TLS.
pub(crate) fn clear_part(descriptor: &str) -> Option<&'static str> {
    let lower = descriptor.to_ascii_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
    let addresses = plain.matches("(address=").count();
    if addresses == 0 || plain.matches("(protocol=tcps)").count() != addresses {
        return Some("has an address without PROTOCOL=tcps");
    }
    let unmatched = ["no", "off", "false"];
    unmatched
        .iter()
        .any(|word| plain.contains(&format!("(ssl_server_dn_match={word})")))
        .then_some("turns SSL_SERVER_DN_MATCH off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(host: &str, port: Option<u16>, service: &str) -> Place {
        Place::Service { host: host.into(), port, service: service.into() }
    }

    #[test]
    fn services_and_descriptors_are_read() {
        for (url, user, place) in [
            ("oracle://app@db.bank:1522/core", "app", service("db.bank", Some(1522), "core")),
            (
                "oracle://app@10.0.0.5/core.bank.cn",
                "app",
                service("10.0.0.5", None, "core.bank.cn"),
            ),
            ("oracle://app@[::1]:1521/x", "app", service("[::1]", Some(1521), "x")),
            ("oracle://%22app%22@h/x", "\"app\"", service("h", None, "x")),
        ] {
            let expected = OracleUrl { user: user.into(), place };
            assert_eq!(parse(url).as_ref(), Ok(&expected), "{url}");
        }
        let descriptor = "(DESCRIPTION=(ADDRESS_LIST=(LOAD_BALANCE=on)(ADDRESS=(PROTOCOL=tcps)\
                          (HOST=a)(PORT=2484)))(CONNECT_DATA=(SERVICE_NAME=core))\
                          (SECURITY=(MY_WALLET_DIRECTORY=/etc/w)))";
        let read = parse(&format!("oracle://app@{descriptor}")).unwrap();
        assert_eq!((read.user.as_str(), read.place), ("app", Place::Descriptor(descriptor.into())));
    }

    #[test]
    fn a_descriptor_says_whether_all_of_it_is_secured() {
        let of = |inside: &str| clear_part(&format!("(DESCRIPTION={inside}(CONNECT_DATA=(X=1)))"));
        let secured = "(ADDRESS_LIST=(ADDRESS=(PROTOCOL=tcps)(HOST=a))( address = (Protocol = TCPS)\
                       (HOST=b)))";
        assert_eq!(of(secured), None);
        assert_eq!(of(&format!("{secured}(SECURITY=(SSL_SERVER_DN_MATCH=YES))")), None);
        for clear in [
            "(ADDRESS=(PROTOCOL=tcp)(HOST=a))",
            "(ADDRESS=(HOST=tcps))",
            "(ADDRESS_LIST=(ADDRESS=(PROTOCOL=tcps)(HOST=a))(ADDRESS=(PROTOCOL=tcp)(HOST=a)))",
            "(ADDRESS_LIST=(ADDRESS=(PROTOCOL=tcps)(HOST=a))(ADDRESS=(HOST=a)))",
            "",
        ] {
            assert!(of(clear).is_some_and(|what| what.contains("tcps")), "{clear}");
        }
        let lax = format!("{secured}(SECURITY=(SSL_SERVER_DN_MATCH = off))");
        assert!(of(&lax).is_some_and(|what| what.contains("DN_MATCH")));
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for (url, reason) in [
            ("mysql://app@h/x", "no URL of Oracle"),
            ("oracle://app@h", "names no service"),
            ("oracle://app@h/", "names no service"),
            ("oracle://app@h/x/y", "names no service"),
            ("oracle://h/x", "names no user"),
            ("oracle:///x", "names no host"),
            ("oracle://app:secret@h/x", "a password"),
            ("oracle://app/secret@(DESCRIPTION=(X=1))", "a password"),
            ("oracle://app:secret@(DESCRIPTION=(X=1))", "a password"),
            ("oracle://app@h:port/x", "is not a URL"),
            ("oracle://app@h/x?wallet=1", "takes no options"),
            ("oracle://@(DESCRIPTION=(X=1))", "names no user"),
            ("oracle://a@(DESCRIPTION=(X=1)", "do not match"),
            ("oracle://a@(DESCRIPTION=(X=1)))", "do not match"),
            ("oracle://a@(DESCRIPTION=(X=1))(Y=2)", "do not match"),
            ("oracle://a@(ADDRESS=(X=1))", "begins with (DESCRIPTION="),
            ("oracle://a@(DESCRIPTION=\n(X=1))", "on one line"),
            ("oracle://a@(DESCRIPTION=(Wallet_Password = x))", "a password"),
        ] {
            let message = parse(url).unwrap_err();
            assert!(message.contains(reason), "{url}: {message}");
        }
    }
}
