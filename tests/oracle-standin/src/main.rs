//! Serves a stand-in until it is killed, for looking by hand and for other clients.
//!
//! `oracle-standin [--generation 12c|19c|23ai] [--port N] [--sdu BYTES] [--control PATH]` says how to
//! connect, in one line. On the control socket every line is an order, answered with `ok`, a number or `what?`:
//! `fault …` (see `Fault::parse`), `clear`, `drop`, `crash`, `connections`, `open`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;

use ssync_oracle_standin::faults::Fault;
use ssync_oracle_standin::postgres::Postgres;
use ssync_oracle_standin::{Generation, PASSWORD, Standin, USER};

const USAGE: &str =
    "usage: oracle-standin [--generation 12c|19c|23ai] [--port N] [--sdu BYTES] [--control PATH]";

struct Options {
    generation: Generation,
    port: u16,
    sdu: Option<usize>,
    control: Option<String>,
}

fn options() -> Option<Options> {
    let mut options =
        Options { generation: Generation::Oracle23ai, port: 0, sdu: None, control: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--generation" => {
                options.generation = match value.as_str() {
                    "12c" => Generation::Oracle12c,
                    "19c" => Generation::Oracle19c,
                    "23ai" => Generation::Oracle23ai,
                    _ => return None,
                }
            }
            "--port" => options.port = value.parse().ok()?,
            "--sdu" => options.sdu = Some(value.parse().ok()?),
            "--control" => options.control = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

fn obey(standin: &Standin, order: &str) -> String {
    match order.split_once(' ').unwrap_or((order, "")) {
        ("fault", words) => match Fault::parse(words) {
            Some(fault) => standin.faults().add(fault),
            None => return "what?".to_owned(),
        },
        ("clear", _) => standin.faults().clear(),
        ("drop", _) => standin.drop_connections(),
        ("crash", _) => standin.crash(),
        ("connections", _) => return standin.connections().to_string(),
        ("open", _) => return standin.open_connections().to_string(),
        _ => return "what?".to_owned(),
    }
    "ok".to_owned()
}

fn listen(standin: &Standin, stream: UnixStream) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        writeln!(answers, "{}", obey(standin, line?.trim()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let standin = Standin::start_on(options.generation, Arc::new(Postgres::start()), options.port);
    if let Some(bytes) = options.sdu {
        standin.offer_sdu(bytes);
    }
    println!("{USER}/{PASSWORD}@{}", standin.connect_string());
    let Some(path) = options.control else {
        loop {
            std::thread::park();
        }
    };
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("oracle-standin: cannot listen on {path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        // One at a time: orders are few.
        let _ = listen(&standin, stream);
    }
    ExitCode::SUCCESS
}
