//! Oracle by TLS (`tcps`): who is believed, and that nothing is said in the clear. On a stand-in
//! behind a front that speaks TLS.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use ssync_common::connector::{LinkParams, OracleParams, TlsMode, open};
use ssync_common::error::{Error, Kind};
use ssync_common::secret::Secret;
use ssync_oracle_standin::{Generation, PASSWORD, SERVICE, Standin, USER};
use ssync_tests::listeners::{Certificates, certificates};
use ssync_tests::tls_front::TlsFront;

struct Secured {
    standin: Standin,
    front: TlsFront,
    certificates: Certificates,
    dir: tempfile::TempDir,
}

impl Secured {
    fn new(generation: Generation) -> Secured {
        let dir = tempfile::tempdir().unwrap();
        let certificates = certificates(dir.path(), "bank");
        let standin = Standin::start(generation);
        let front = TlsFront::start(&certificates, standin.address());
        Secured { standin, front, certificates, dir }
    }

    fn url(&self, host: &str) -> String {
        format!("oracle://{USER}@{host}:{}/{SERVICE}", self.front.port())
    }

    /// A wallet with this file as what Oracle's tools would have made.
    fn wallet(&self, pem: &std::path::Path) -> PathBuf {
        let wallet = self.dir.path().join("wallet");
        std::fs::create_dir_all(&wallet).unwrap();
        std::fs::copy(pem, wallet.join("ewallet.pem")).unwrap();
        wallet
    }
}

/// TLS, checked with these authorities.
fn link(url: String, tls_ca_file: Option<PathBuf>, wallet_dir: Option<PathBuf>) -> LinkParams {
    LinkParams {
        name: "core".into(),
        url,
        password: Some(Secret::from(PASSWORD.to_owned())),
        tls: TlsMode::Verified,
        tls_ca_file,
        oracle: OracleParams { wallet_dir, ..OracleParams::default() },
        connect_timeout: std::time::Duration::from_secs(20),
        io_timeout: std::time::Duration::from_secs(20),
    }
}

/// Why it did not open. Names the link, and says what to do.
fn refused(link: &LinkParams) -> Error {
    let e = open(link).map(drop).unwrap_err();
    assert_eq!(e.kind, Kind::Connect, "{e:?}");
    assert!(format!("{e:?}").contains("link core"), "{e:?}");
    assert!(!format!("{e:?}").contains(PASSWORD), "{e:?}");
    assert!(e.hint.is_some(), "{e:?}");
    e
}

/// What was sent begins as TLS does, and nothing of a login is to be read in it. (Words must be long:
/// the user's name, three letters, turns up in a megabyte of cipher text by chance.)
fn is_in_no_clear(heard: &[u8]) {
    const HANDSHAKE: u8 = 22;
    assert_eq!(heard.first(), Some(&HANDSHAKE), "no TLS: {heard:?}");
    let text = String::from_utf8_lossy(heard).to_ascii_uppercase();
    for clear in [SERVICE, "CONNECT_DATA", "AUTH_SESSKEY"] {
        assert!(!text.contains(&clear.to_ascii_uppercase()), "{clear} was sent in the clear");
    }
}

#[test]
fn rows_come_and_go_by_tls_with_a_file_of_authorities_or_a_wallet() {
    for generation in Generation::ALL {
        let secured = Secured::new(generation);
        let ca = secured.certificates.ca.clone();
        let wallet = secured.wallet(&ca);
        let here = secured.url("127.0.0.1");
        let descriptor = format!(
            "oracle://{USER}@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=127.0.0.1)(PORT={}))\
             (CONNECT_DATA=(SERVICE_NAME={SERVICE})))",
            secured.front.port()
        );
        for link in [
            link(here.clone(), Some(ca.clone()), None),
            link(here, None, Some(wallet)),
            link(descriptor, Some(ca), None),
        ] {
            let mut c = open(&link).unwrap_or_else(|e| panic!("{e:?}"));
            c.execute("CREATE TABLE t (v CLOB)", &[]).unwrap();
            let long = ssync_common::value::Value::Text("中".repeat(50_000));
            c.execute("INSERT INTO t VALUES (:1)", std::slice::from_ref(&long)).unwrap();
            let rows = c.query("SELECT v FROM t", &[]).unwrap();
            assert_eq!(rows, [[long]]);
            c.execute("DROP TABLE t", &[]).unwrap();
        }
        is_in_no_clear(&secured.front.heard());
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let secured = Secured::new(Generation::Oracle19c);
    let other = certificates(secured.dir.path(), "other");
    let wallet = secured.wallet(&other.ca);
    let here = || secured.url("127.0.0.1");
    for link in [
        link(here(), Some(other.ca), None),
        link(here(), None, Some(wallet)),
        // The public authorities.
        link(here(), None, None),
    ] {
        let e = refused(&link);
        assert!(e.hint.is_some_and(|h| h.contains("tls_ca_file")));
    }
    assert_eq!(secured.standin.connections(), 0);
    is_in_no_clear(&secured.front.heard());
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let secured = Secured::new(Generation::Oracle19c);
    let ca = secured.certificates.ca.clone();
    // The certificate is for 127.0.0.1, which is the same host, and another name.
    let e = refused(&link(secured.url("localhost"), Some(ca.clone()), None));
    assert!(e.hint.is_some_and(|h| h.contains("name")));
    // A descriptor that asks for less does not get it.
    let lax = format!(
        "oracle://{USER}@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=localhost)(PORT={}))\
         (CONNECT_DATA=(SERVICE_NAME={SERVICE}))(SECURITY=(SSL_SERVER_DN_MATCH=OFF)))",
        secured.front.port()
    );
    let e = open(&link(lax, Some(ca), None)).map(drop).unwrap_err();
    assert!(matches!(e.kind, Kind::Config | Kind::Connect), "{e:?}");
    assert_eq!(secured.standin.connections(), 0);
    is_in_no_clear(&secured.front.heard());
}

#[test]
fn a_wallet_that_is_missing_or_no_wallet_is_refused_before_anything_is_sent() {
    let secured = Secured::new(Generation::Oracle19c);
    let empty = secured.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let e = refused(&link(secured.url("127.0.0.1"), None, Some(empty)));
    assert!(e.hint.is_some_and(|h| h.contains("ewallet.pem")));
    assert!(secured.front.heard().is_empty());
}

/// A port that is open for the test, and what the first that connects there sends.
fn overheard() -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let hearing = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut heard = vec![0; 4096];
        let n = client.read(&mut heard).unwrap();
        heard.truncate(n);
        heard
    });
    (address, hearing)
}

#[test]
fn a_server_without_tls_is_told_nothing() {
    let (address, hearing) = overheard();
    let secured = Secured::new(Generation::Oracle23ai);
    let url = format!("oracle://{USER}@{address}/{SERVICE}");
    refused(&link(url, Some(secured.certificates.ca.clone()), None));
    is_in_no_clear(&hearing.join().unwrap());
}

#[test]
fn a_descriptor_with_an_address_in_the_clear_is_refused_where_tls_is_asked_for() {
    let secured = Secured::new(Generation::Oracle19c);
    let ca = secured.certificates.ca.clone();
    let at = |protocol: &str, port: u16| {
        format!("(ADDRESS=(PROTOCOL={protocol})(HOST=127.0.0.1)(PORT={port}))")
    };
    let (clear, closed) = (secured.standin.address().port(), ssync_tests::listeners::closed_port());
    for addresses in [
        at("tcp", clear),
        // Where the first does not answer, the driver would go on to the next.
        format!("{}{}", at("tcps", closed), at("tcp", clear)),
        format!("(ADDRESS=(HOST=127.0.0.1)(PORT={clear}))"),
    ] {
        let url = format!(
            "oracle://{USER}@(DESCRIPTION=(ADDRESS_LIST={addresses})\
             (CONNECT_DATA=(SERVICE_NAME={SERVICE}_TCPS)))"
        );
        let e = open(&link(url, Some(ca.clone()), None)).map(drop).unwrap_err();
        assert_eq!(e.kind, Kind::Config, "{e:?}");
        assert!(format!("{e:?}").contains("link core"), "{e:?}");
    }
    assert_eq!(secured.standin.connections(), 0);
}
