//! Logging in, changing the password, and what a session begins with.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use crate::answer::Outcome;
use crate::faults::Moment;
use crate::login::{self, Login};
use crate::ora_error::{OraError, shown};
use crate::session::{Fail, Session};
use crate::ttc::{Stop, Writer};

impl Session {
    fn read_login(&mut self) -> Result<(String, HashMap<String, String>), Stop> {
        let reader = &mut self.reader;
        let has_user = reader.u8()? != 0;
        reader.ub4()?;
        reader.ub4()?;
        reader.u8()?;
        let pairs = reader.ub4()?;
        reader.raw(2)?;
        let user = if has_user { reader.bytes()? } else { Vec::new() };
        let mut found = HashMap::new();
        for _ in 0..pairs {
            let key = reader.text_double()?;
            let value = reader.text_double()?;
            reader.ub4()?;
            found.insert(key, value);
        }
        Ok((String::from_utf8_lossy(&user).into_owned(), found))
    }

    /// The first call: the client says who it is.
    pub(crate) fn login_begins(&mut self, code: u8, answer: &mut Writer) -> Result<(), Stop> {
        self.login_continues(code, answer).map(|_| ())
    }

    pub(crate) fn login_continues(&mut self, code: u8, answer: &mut Writer) -> Result<bool, Stop> {
        let (user, pairs) = self.read_login()?;
        if code == 118 {
            let quoted = user.strip_prefix('"').and_then(|u| u.strip_suffix('"'));
            self.user = shown(quoted.unwrap_or(&user.to_uppercase()));
            let accounts = self.world.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            // Who is not known gets a challenge too, which nobody can meet.
            let password = accounts.get(&self.user).cloned().unwrap_or_else(|| "\0".to_owned());
            drop(accounts);
            let login = Login::new(&password);
            parameters(answer, &login.challenge());
            self.status(answer);
            self.login = Some(login);
            return Ok(true);
        }
        let text = |key: &str| pairs.get(key).map_or("", String::as_str);
        if let Some(new) = pairs.get("AUTH_NEWPASSWORD").filter(|_| self.key.is_some()) {
            return self.change_password(text("AUTH_PASSWORD"), new, answer);
        }
        let result = match self.fault(Moment::Login, &user) {
            Ok(()) => self.check_password(text("AUTH_SESSKEY"), text("AUTH_PASSWORD")),
            Err(fail) => Err(fail),
        };
        match result {
            Ok(key) => {
                self.begin(text("AUTH_ALTER_SESSION"))?;
                self.key = Some(key);
                parameters(answer, &self.session_parameters(&key));
                self.status(answer);
                Ok(true)
            }
            Err(Fail::Ora(error)) => {
                self.outcome(answer, &Outcome::failed(0, error));
                Ok(false)
            }
            Err(Fail::Stop(stop)) => Err(stop),
        }
    }

    fn check_password(&mut self, key: &str, password: &str) -> Result<[u8; 32], Fail> {
        let key = self.login.take().and_then(|login| login.verify(key, password));
        let known = self.world.has_account(&self.user);
        Ok(key.filter(|_| known).ok_or_else(wrong_password)?)
    }

    fn change_password(&mut self, old: &str, new: &str, answer: &mut Writer) -> Result<bool, Stop> {
        let opened = |text| {
            let bytes = login::opened(self.key.as_ref()?, text)?;
            String::from_utf8(bytes).ok()
        };
        let mut accounts = self.world.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let right = opened(old).is_some_and(|old| accounts.get(&self.user) == Some(&old));
        match opened(new).filter(|_| right) {
            Some(new) => {
                accounts.insert(self.user.clone(), new);
                drop(accounts);
                parameters(answer, &[]);
                self.status(answer);
            }
            None => {
                drop(accounts);
                self.outcome(answer, &Outcome::failed(0, wrong_password()));
            }
        }
        Ok(true)
    }

    /// Opens the session's connection to PostgreSQL.
    fn begin(&mut self, alter_session: &str) -> Result<(), Stop> {
        let world = Arc::clone(&self.world);
        let mut backend =
            world.postgres.connect(&self.user, &world.database).map_err(|_| Stop::Gone)?;
        let settings = format!(
            "SET ora.version = '{}'; SET ora.banner = '{}'; SET ora.service = '{}'; SET ora.sid = '{}'",
            world.generation.version(),
            world.generation.banner(),
            world.service,
            self.number
        );
        backend.script(&settings).map_err(|_| Stop::Gone)?;
        let rows = backend
            .script("SELECT typname, CAST(oid AS int8) FROM pg_type WHERE typnamespace = 'ora'::regnamespace")
            .map_err(|_| Stop::Gone)?;
        for row in rows {
            let mut texts =
                row.iter().map(|v| String::from_utf8_lossy(v.as_deref().unwrap_or_default()));
            let name = texts.next().unwrap_or_default();
            let oid = texts.next().and_then(|t| t.parse().ok()).unwrap_or(0);
            match name.as_ref() {
                "oradate" => self.own.date = oid,
                "clob" => self.own.clob = oid,
                "nclob" => self.own.nclob = oid,
                "blob" => self.own.blob = oid,
                "rowid" => self.own.rowid = oid,
                "stamp9" => self.own.stamp = oid,
                "months" => self.own.months = oid,
                "zoned9" => self.own.zoned = oid,
                "span9" => self.own.span = oid,
                _ => {}
            }
        }
        self.backend = Some(backend);
        self.alter_session(alter_session)
    }

    /// The ALTER SESSION that clients send along with the login.
    fn alter_session(&mut self, sql: &str) -> Result<(), Stop> {
        if let Ok(crate::sql::Statement::Order(crate::sql::Order::Set(Some(set)))) =
            crate::sql::translate(sql)
        {
            let _ = self.backend()?.script(&set);
        }
        Ok(())
    }

    fn session_parameters(&self, key: &[u8; 32]) -> Vec<(&'static str, String, u32)> {
        let world = &self.world;
        vec![
            ("AUTH_VERSION_STRING", "- Production".to_owned(), 0),
            ("AUTH_VERSION_NO", world.generation.version_number().to_string(), 0),
            ("AUTH_SESSION_ID", self.number.to_string(), 0),
            ("AUTH_SERIAL_NUM", "1".to_owned(), 0),
            ("AUTH_SC_DBUNIQUE_NAME", "standin".to_owned(), 0),
            ("AUTH_SC_SERVICE_NAME", world.service.clone(), 0),
            ("AUTH_INSTANCENAME", "standin".to_owned(), 0),
            ("AUTH_MAX_OPEN_CURSORS", "300".to_owned(), 0),
            ("AUTH_MAX_IDEN_LENGTH", "128".to_owned(), 0),
            ("AUTH_SVR_RESPONSE", login::proof(key), 0),
        ]
    }
}

fn wrong_password() -> OraError {
    OraError::new(1017, "invalid username/password; logon denied")
}

fn parameters(answer: &mut Writer, pairs: &[(&'static str, String, u32)]) {
    answer.u8(8).ub(pairs.len() as u64);
    for (key, value, flags) in pairs {
        answer.bytes_double(key.as_bytes()).bytes_double(value.as_bytes()).ub((*flags).into());
    }
}
