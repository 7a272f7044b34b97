//! TLS in front of a server that speaks none: what clients send is kept as it came, and passed on
//! only where they spoke TLS.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ServerConfig, ServerConnection};

use crate::listeners::{Certificates, server_config};

/// Listens on loopback until the process ends.
pub struct TlsFront {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl TlsFront {
    /// Shows these certificates, and speaks to `server` for whoever accepts them.
    pub fn start(certificates: &Certificates, server: SocketAddr) -> TlsFront {
        let config = server_config(certificates);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keeping = heard.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (config, heard) = (config.clone(), keeping.clone());
                thread::spawn(move || serve(client, &config, server, &heard));
            }
        });
        TlsFront { port, heard }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every byte that clients have sent, as it was on the wire.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

/// Keeps what it reads.
struct Overheard<'a> {
    client: &'a TcpStream,
    heard: &'a Mutex<Vec<u8>>,
}

impl Read for Overheard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.client.read(buffer)?;
        self.heard.lock().unwrap().extend(&buffer[..n]);
        Ok(n)
    }
}

/// Passes on until one side ends. A client that does not agree to TLS never reaches the server.
fn serve(
    mut client: TcpStream,
    config: &Arc<ServerConfig>,
    server: SocketAddr,
    heard: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut tls = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let reading = client.try_clone()?;
    let mut input = Overheard { client: &reading, heard };
    while tls.is_handshaking() {
        if tls.wants_write() {
            tls.write_tls(&mut client)?;
        } else if !receive(&mut tls, &mut input, &mut client)? {
            return Ok(());
        }
    }
    let mut upstream = TcpStream::connect(server)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
        loop {
            match tls.reader().read(&mut buffer) {
                Ok(0) => return upstream.shutdown(Shutdown::Both),
                Ok(n) => upstream.write_all(&buffer[..n])?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        let mut both = [
            PollFd::new(client.as_fd(), PollFlags::POLLIN),
            PollFd::new(upstream.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut both, PollTimeout::NONE)?;
        let ready = both.map(|fd| fd.any().unwrap_or(false));
        if ready[0] && !receive(&mut tls, &mut input, &mut client)? {
            return upstream.shutdown(Shutdown::Both);
        }
        if ready[1] {
            match upstream.read(&mut buffer)? {
                0 => return client.shutdown(Shutdown::Both),
                n => tls.writer().write_all(&buffer[..n])?,
            }
        }
    }
}

/// Takes in what the client sent; `false` when it has gone. What is no TLS is answered as TLS has
/// it, with an alert, and ends the connection.
fn receive(
    tls: &mut ServerConnection,
    input: &mut Overheard<'_>,
    client: &mut TcpStream,
) -> std::io::Result<bool> {
    if tls.read_tls(input)? == 0 {
        return Ok(false);
    }
    if let Err(e) = tls.process_new_packets() {
        let _ = tls.write_tls(client);
        let _ = client.shutdown(Shutdown::Both);
        return Err(std::io::Error::other(e));
    }
    Ok(true)
}
