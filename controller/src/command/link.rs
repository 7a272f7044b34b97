//! `ssync link`.

use std::io::{IsTerminal, Read};

use serde_json::json;
use ssync_common::config::{Config, Link, SecretSource, TaskNames};
use ssync_common::connector::{self, LinkParams, TlsMode};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::secret::Secret;
use ssync_common::shm::TaskTable;
use ssync_common::shm::task_table::{ClaimView, link_hash};
use ssync_common::store::Store;

use crate::cli::LinkCommand;
use crate::daemon;
use crate::output::Output;
use crate::render::{self, note};

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 64 << 10;

/// Does what is asked about links; false when one did not open.
pub fn run(command: &LinkCommand, store: &mut Store, out: &mut Output) -> Result<bool> {
    match command {
        LinkCommand::List => list(store, out),
        LinkCommand::SetPassword { name } => set_password(store, name, out),
        LinkCommand::Usage => usage(store, out),
        LinkCommand::Test { names } => test(store, names, out),
    }
}

/// Lists links; never a password.
fn list(store: &mut Store, out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for link in &config.links {
        let tls = match link.tls {
            TlsMode::Off => "off",
            TlsMode::Required => "required",
            TlsMode::Verified => "verified",
        };
        let source = password_source(store, link)?;
        objects.push(json!({
            "name": link.name,
            "url": link.url,
            "password": source,
            "tls": tls,
            "max_connections": link.max_connections,
        }));
        rows.push([
            link.name.clone(),
            link.url.clone(),
            source,
            tls.to_owned(),
            link.max_connections.to_string(),
        ]);
    }
    if out.is_json() {
        out.object(json!({ "links": objects }));
    } else {
        out.table(["NAME", "URL", "PASSWORD", "TLS", "CONNECTIONS"], &rows);
    }
    Ok(true)
}

/// Shows how many connections each link has in use, and who waits for one (A29).
fn usage(store: &mut Store, out: &mut Output) -> Result<bool> {
    let claims = match TaskTable::open(store.home().path())? {
        Some(table) => table.permit_claims()?,
        None => Vec::new(),
    };
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    let config = store.load()?;
    let names = TaskNames::of(&config.tasks);
    for link in &config.links {
        let hash = link_hash(&link.name);
        let (held, waiting): (Vec<_>, Vec<_>) =
            claims.iter().filter(|c| c.link == hash).partition(|c| c.held);
        let in_use: u32 = held.iter().map(|c| c.permits).sum();
        objects.push(json!({
            "name": link.name,
            "max_connections": link.max_connections,
            "in_use": in_use,
            "held": held,
            "waiting": waiting,
        }));
        rows.push([
            link.name.clone(),
            link.max_connections.to_string(),
            in_use.to_string(),
            claimants(&held, &names),
            claimants(&waiting, &names),
        ]);
    }
    if out.is_json() {
        out.object(json!({ "links": objects }));
    } else {
        out.table(["LINK", "ALLOWED", "IN USE", "BY", "WAITING"], &rows);
    }
    Ok(true)
}

/// `task 7 (pid 4711): 8, task 9 (pid 4712): 3`.
fn claimants(claims: &[&ClaimView], names: &TaskNames) -> String {
    let one =
        |c: &&ClaimView| format!("task {} (pid {}): {}", names.label(c.task), c.pid, c.permits);
    claims.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn password_source(store: &mut Store, link: &Link) -> Result<String> {
    Ok(match &link.password {
        None => "none".to_owned(),
        Some(SecretSource::Env { env }) => format!("env {env}"),
        Some(SecretSource::File { file }) => format!("file {}", file.display()),
        Some(SecretSource::Stored { .. }) => match store.has_stored_password(&link.name)? {
            true => "stored".to_owned(),
            false => "stored (not set yet)".to_owned(),
        },
    })
}

/// Reads a password and stores it.
fn set_password(store: &mut Store, name: &str, out: &mut Output) -> Result<bool> {
    // Before anybody types one in vain.
    store.expect_stored_password(name)?;
    let password =
        if std::io::stdin().is_terminal() { typed_password(name)? } else { piped_password()? };
    store.set_link_password(name, &password)?;
    // Tasks that lacked it start again.
    if let Err(e) = daemon::command::reload_if_it_is_ours(store.home(), store.instance_id()) {
        note(&format!("the daemon will see it later: {}", e.message));
    }
    if out.is_json() {
        out.object(json!({ "link": name, "stored": true }));
    } else {
        out.line(format!("stored the password of link {name}"));
    }
    Ok(true)
}

/// From the terminal, without echo, twice.
fn typed_password(name: &str) -> Result<Secret> {
    let ask = |prompt: String| -> Result<Secret> {
        let typed = rpassword::prompt_password(prompt)
            .map_err(|e| Error::from(e).context("could not read the password"))?;
        Ok(Secret::from(typed))
    };
    let password = ask(format!("Password of link {name}: "))?;
    if ask("The same again: ".to_owned())? != password {
        return Err(Error::new(Kind::Usage, "the two passwords differ"));
    }
    Ok(password)
}

/// From standard input, to its end; one line break there does not count.
fn piped_password() -> Result<Secret> {
    // Room for all of it beforehand: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(PASSWORD_BYTES_MAX + 1);
    std::io::stdin()
        .take(PASSWORD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::from(e).context("could not read the password"))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let password = Secret::new(bytes);
    match password.expose().len() {
        0 => Err(Error::new(Kind::Usage, "there is no password on standard input")),
        n if n > PASSWORD_BYTES_MAX => {
            Err(Error::new(Kind::Usage, "what is on standard input is too long for a password"))
        }
        _ => Ok(password),
    }
}

/// Opens links; false when one did not open.
fn test(store: &mut Store, names: &[String], out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    let mut all_well = true;
    let mut objects = Vec::new();
    for link in chosen(&config, names)? {
        let params = store.link_params(link);
        let opened = params.and_then(|params| server_of(&params));
        match opened {
            Ok(server) => {
                objects.push(json!({ "name": link.name, "ok": true, "server": server }));
                if !out.is_json() {
                    out.line(format!("{}: {server}", link.name));
                }
            }
            Err(e) => {
                all_well = false;
                objects.push(json!({ "name": link.name, "ok": false, "error": e }));
                if !out.is_json() {
                    // In the order of the links: what was printed before this one comes first.
                    out.print()?;
                    render::fail(&e, false);
                }
            }
        }
    }
    if out.is_json() {
        out.object(json!({ "ok": all_well, "links": objects }));
    }
    Ok(all_well)
}

/// Opens a link; the server's software and version.
pub fn server_of(link: &LinkParams) -> Result<String> {
    connector::open(link).map(|connection| connection.server())
}

fn chosen<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Link>> {
    if names.is_empty() {
        return Ok(config.links.iter().collect());
    }
    let find = |name: &String| {
        config.links.iter().find(|l| l.name == *name).ok_or_else(|| {
            Error::new(Kind::Config, format!("there is no link {name}"))
                .hint("See the links: ssync link list.")
        })
    };
    names.iter().map(find).collect()
}
