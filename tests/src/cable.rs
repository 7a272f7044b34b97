//! A cable between ssync and a server, which can be cut: neither side hears of it, as where a host
//! or a network is lost.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens on loopback, and passes on what comes, until it is cut.
pub struct Cable {
    port: u16,
    cut: Arc<AtomicBool>,
    /// Both ends of every connection: they stay open.
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    /// One to that port.
    pub fn to(server: u16) -> Cable {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let cable = Cable { port, cut: cut.clone(), ends: ends.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let mut kept = ends.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    kept.push(from.try_clone().unwrap());
                    let cut = cut.clone();
                    thread::spawn(move || pass_on(from, to, &cut));
                }
            }
        });
        cable
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it: from now on nothing passes, and no end of a connection is heard of.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer);
        if cut.load(Ordering::SeqCst) {
            return;
        }
        match read {
            Ok(n) if n > 0 && to.write_all(&buffer[..n]).is_ok() => {}
            _ => {
                let _ = to.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }
}
