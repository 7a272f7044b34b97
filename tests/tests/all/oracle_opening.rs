//! A link to Oracle that cannot be opened: the error names host and port, and its hint says what to
//! look at.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use ssync_common::connector::{LinkParams, OracleParams, TlsMode, open};
use ssync_common::error::{Error, Kind};
use ssync_common::secret::Secret;
use ssync_oracle_standin::{Generation, PASSWORD, SERVICE, Standin, USER};
use ssync_tests::listeners::certificates;
use ssync_tests::servers::mariadb;
use ssync_tests::tls_front::TlsFront;

fn refused(host: &str, port: u16, tls: TlsMode) -> Error {
    let link = LinkParams {
        name: "core".into(),
        url: format!("oracle://{USER}@{host}:{port}/{SERVICE}"),
        password: Some(Secret::from(PASSWORD.to_owned())),
        tls,
        tls_ca_file: None,
        oracle: OracleParams::default(),
        connect_timeout: Duration::from_secs(3),
        io_timeout: Duration::from_secs(3),
    };
    let e = open(&link).map(drop).unwrap_err();
    eprintln!("{e:?}");
    assert_eq!(e.kind, Kind::Connect, "{e:?}");
    let place = format!("link core: could not connect to {host} port {port}: ");
    assert!(e.message.starts_with(&place), "{e:?}");
    for word in ["stream operation", "os error", PASSWORD] {
        assert!(!format!("{e:?}").contains(word), "{word}: {e:?}");
    }
    assert!(e.hint.is_some(), "{e:?}");
    e
}

/// Answers whoever connects with this, and keeps the connection.
fn speaking(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut heard = [0; 512];
                let _ = client.write_all(words);
                while client.read(&mut heard).is_ok_and(|n| n > 0) {}
            });
        }
    });
    port
}

#[test]
fn a_closed_port_and_an_unknown_host_are_named_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for tls in [TlsMode::Off, TlsMode::Verified] {
        let e = refused("127.0.0.1", port, tls);
        assert!(e.message.ends_with(": connection refused"), "{e:?}");
        assert!(e.hint.is_some_and(|h| h.contains("listener runs")));
        let e = refused("no-such-host.invalid", port, tls);
        assert!(e.message.ends_with(": the host is not known"), "{e:?}");
        assert!(e.hint.is_some_and(|h| h.contains("name")));
    }
}

#[test]
fn a_port_that_is_not_oracles_is_said_to_be_another_servers() {
    let ports = [
        mariadb().port(),
        speaking(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        speaking(b"SSH-2.0-OpenSSH_9.6\r\n"),
        speaking(b""),
        speaking(&[0, 12, 0, 0, 99, 0, 0, 0, 1, 2, 3, 4]),
    ];
    for port in ports {
        let e = refused("127.0.0.1", port, TlsMode::Off);
        assert!(e.hint.is_some_and(|h| h.contains("port is that of an Oracle listener")));
    }
}

#[test]
fn tls_at_a_port_without_it_and_none_at_a_port_with_it_are_told_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    for generation in Generation::ALL {
        let standin = Standin::start(generation);
        let e = refused("127.0.0.1", standin.address().port(), TlsMode::Verified);
        assert!(e.hint.is_some_and(|h| h.contains("port is that of the listener for TLS")));
        let front = TlsFront::start(&certificates(dir.path(), "bank"), standin.address());
        let e = refused("127.0.0.1", front.port(), TlsMode::Off);
        assert!(e.hint.is_some_and(|h| h.contains("tls = \"verified\"")));
    }
}
