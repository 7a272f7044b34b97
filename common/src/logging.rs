//! Logs: one event a line, from many processes into shared files, without torn lines.
//!
//! ```text
//! 2026-12-01T02:00:00.123+08:00 INFO  writer[4711] ssync_writer::batch: task=7 run=0f… batch=12 rows=10000 landed
//! ```
//!
//! What an event is about goes into key-value pairs, not into its text:
//! `log::info!(batch = 12, rows = 10_000; "landed")`; what holds for all events of a process
//! from now on into [`set_context`]. Row values and secrets go nowhere.
//!
//! Files are chosen by role and date when they are opened, and never renamed: see
//! `docs/logging.yaml`.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Zoned;
use jiff::civil::Date;
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Record};
use log4rs::append::Append;
use log4rs::config::{Appender, Config, Deserialize, Deserializers, Root};
use log4rs::encode::writer::simple::SimpleWriter;
use log4rs::encode::{Encode, EncoderConfig};

use crate::error::{Error, Kind, Result};

/// The settings that hold without a file of the user's, as documented text.
pub const DEFAULT_YAML: &str = include_str!("../../docs/logging.yaml");
/// The user's settings, in `SSYNC_HOME`.
pub const USER_FILE: &str = "log4rs.yaml";
/// Default of `dir`.
const DIR: &str = "logs";
/// Default of `max_bytes`.
const MAX_BYTES: u64 = 256 << 20;
/// Parts of one day and role; at the default size that is 256 GiB.
const PARTS_MAX: u32 = 1000;

/// What every line of this process says, in order of first setting.
static CONTEXT: RwLock<Vec<(&'static str, String)>> = RwLock::new(Vec::new());

/// From now on every line of this process carries `key=value`; an empty value takes it away.
pub fn set_context(key: &'static str, value: impl std::fmt::Display) {
    let value = value.to_string();
    let mut context = CONTEXT.write().unwrap_or_else(PoisonError::into_inner);
    match context.iter_mut().find(|(k, _)| *k == key) {
        Some((_, old)) => *old = value,
        None => context.push((key, value)),
    }
}

/// Starts logging for this process, which plays `role`, under `home`. Once per process.
///
/// Panics are logged too, without their message, which could contain anything.
///
/// # Errors
/// [`Kind::Config`] when the user's file cannot be read or understood; [`Kind::System`] when no
/// log can be written.
pub fn init(role: &str, home: &Path) -> Result<()> {
    let place = Place { role: role.to_owned(), home: home.to_path_buf() };
    let user_file = home.join(USER_FILE);
    let config = if user_file.exists() { load(&user_file, place)? } else { default_config(place)? };
    log4rs::init_config(config)
        .map_err(|e| Error::new(Kind::Internal, format!("logging is set up already: {e}")))?;
    log_panics();
    Ok(())
}

/// Which process writes, and where to.
#[derive(Debug, Clone)]
struct Place {
    role: String,
    home: PathBuf,
}

fn default_config(place: Place) -> Result<Config> {
    let file = FileAppender::new(place, FileConfig::default(), None)?;
    Config::builder()
        .appender(Appender::builder().build("file", Box::new(file)))
        .build(Root::builder().appender("file").build(LevelFilter::Info))
        .map_err(|e| Error::new(Kind::Internal, format!("logging: {e}")))
}

fn load(path: &Path, place: Place) -> Result<Config> {
    let mut deserializers = Deserializers::new();
    deserializers.insert("ssync_file", FileDeserializer(place));
    let wrong = |why: String| {
        Error::new(Kind::Config, format!("could not use the logging settings: {why}"))
            .detail(path.display().to_string())
            .hint("docs/logging.yaml shows what may stand there. Remove the file for the defaults.")
    };
    let config = log4rs::config::load_config_file(path, deserializers)
        .map_err(|e| wrong(format!("{e:#}")))?;
    // log4rs names a faulty appender on standard error and goes on without. Without any, every
    // event would be lost.
    if config.root().appenders().is_empty() {
        return Err(wrong("no appender of the root logger can be used".to_owned()));
    }
    Ok(config)
}

fn log_panics() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error!(place = place, thread = thread; "a bug in ssync stopped this thread");
        // The message may quote what was being worked on; only builds for developers show it.
        if cfg!(debug_assertions) {
            previous(info);
        } else {
            eprintln!("ssync: a bug stopped thread {thread} at {place}; the log has more");
        }
    }));
}

/// Settings of the appender `ssync_file`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    #[serde(default = "dir")]
    dir: PathBuf,
    #[serde(default = "max_bytes")]
    max_bytes: u64,
    encoder: Option<EncoderConfig>,
}

fn dir() -> PathBuf {
    DIR.into()
}

fn max_bytes() -> u64 {
    MAX_BYTES
}

impl Default for FileConfig {
    fn default() -> Self {
        FileConfig { dir: dir(), max_bytes: max_bytes(), encoder: None }
    }
}

struct FileDeserializer(Place);

impl Deserialize for FileDeserializer {
    type Trait = dyn Append;
    type Config = FileConfig;

    fn deserialize(
        &self,
        mut config: FileConfig,
        deserializers: &Deserializers,
    ) -> anyhow::Result<Box<dyn Append>> {
        let encoder = match config.encoder.take() {
            Some(e) => Some(deserializers.deserialize::<dyn Encode>(&e.kind, e.config)?),
            None => None,
        };
        Ok(Box::new(FileAppender::new(self.0.clone(), config, encoder)?))
    }
}

/// Appends whole lines to the file of the day.
#[derive(Debug)]
struct FileAppender {
    role: String,
    dir: PathBuf,
    max_bytes: u64,
    encoder: Box<dyn Encode>,
    open: Mutex<Option<OpenFile>>,
}

#[derive(Debug)]
struct OpenFile {
    date: Date,
    file: Arc<File>,
}

impl FileAppender {
    fn new(place: Place, config: FileConfig, encoder: Option<Box<dyn Encode>>) -> Result<Self> {
        let encoder = encoder.unwrap_or_else(|| Box::new(LineEncoder { role: place.role.clone() }));
        let appender = FileAppender {
            role: place.role,
            dir: place.home.join(config.dir),
            max_bytes: config.max_bytes,
            encoder,
            open: Mutex::new(None),
        };
        // Everything that can fail fails now, not with the first event.
        appender.file(Zoned::now().date())?;
        Ok(appender)
    }

    /// The file for an event of this date.
    fn file(&self, date: Date) -> Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*open {
            let meta = current.file.metadata()?;
            // No links: somebody has moved it elsewhere or removed it, lines would be lost.
            if current.date == date && meta.len() < self.max_bytes && meta.nlink() > 0 {
                return Ok(current.file.clone());
            }
        }
        let file = Arc::new(self.open_part(date)?);
        *open = Some(OpenFile { date, file: file.clone() });
        Ok(file)
    }

    fn open_part(&self, date: Date) -> Result<File> {
        std::fs::create_dir_all(&self.dir).map_err(|e| {
            Error::from(e).context(format!("could not make {}", self.dir.display()))
        })?;
        let day = date.strftime("%Y-%m-%d");
        for part in 0..PARTS_MAX {
            let path = self.dir.join(match part {
                0 => format!("{}-{day}.log", self.role),
                n => format!("{}-{day}.{n}.log", self.role),
            });
            let file =
                OpenOptions::new().append(true).create(true).mode(0o640).open(&path).map_err(
                    |e| Error::from(e).context(format!("could not open {}", path.display())),
                )?;
            if file.metadata()?.len() < self.max_bytes {
                return Ok(file);
            }
        }
        Err(Error::new(
            Kind::Full,
            format!("today has more than {PARTS_MAX} logs of {}", self.role),
        )
        .hint("Raise max_bytes in log4rs.yaml."))
    }
}

impl Append for FileAppender {
    fn append(&self, record: &Record) -> anyhow::Result<()> {
        let mut line = Vec::with_capacity(256);
        self.encoder.encode(&mut SimpleWriter(&mut line), record)?;
        let line = one_line(&line);
        // One write to a file opened for appending: the kernel puts it behind everything else,
        // whole, whoever writes at the same time. It falls in two only when the disk is full.
        (&*self.file(Zoned::now().date())?).write_all(&line)?;
        Ok(())
    }

    fn flush(&self) {}
}

/// Exactly one line break, at the end. Line breaks in between, and whatever could steer a
/// terminal, are written as escapes.
fn one_line(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut line = Vec::with_capacity(text.len() + 1);
    for byte in text {
        match byte {
            b'\t' => line.push(b'\t'),
            b'\0'..b' ' | 0x7f => line.extend(byte.escape_ascii()),
            _ => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// Writes an event as this module's documentation shows.
#[derive(Debug)]
struct LineEncoder {
    role: String,
}

impl Encode for LineEncoder {
    fn encode(&self, w: &mut dyn log4rs::encode::Write, record: &Record) -> anyhow::Result<()> {
        let mut line = format!(
            "{} {:5} {}[{}] {}:",
            Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"),
            record.level(),
            self.role,
            std::process::id(),
            record.target(),
        );
        let context = CONTEXT.read().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in context.iter().filter(|(_, value)| !value.is_empty()) {
            push_pair(&mut line, key, value);
        }
        drop(context);
        record.key_values().visit(&mut Pairs(&mut line))?;
        write!(line, " {}", record.args())?;
        line.push('\n');
        w.write_all(line.as_bytes())?;
        Ok(())
    }
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        push_pair(self.0, key.as_str(), &value.to_string());
        Ok(())
    }
}

fn push_pair(line: &mut String, key: &str, value: &str) {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !value.is_empty() && value.chars().all(plain) {
        // Writing to a string cannot fail.
        let _ = write!(line, " {key}={value}");
    } else {
        let _ = write!(line, " {key}={value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(home: &Path) -> Place {
        Place { role: "writer".into(), home: home.to_path_buf() }
    }

    fn names(home: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(home.join(DIR))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_documented_defaults_are_the_ones_that_hold() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(USER_FILE);
        std::fs::write(&file, DEFAULT_YAML).unwrap();
        let documented = load(&file, place(home.path())).unwrap();
        let built_in = default_config(place(home.path())).unwrap();
        assert_eq!(documented.root().level(), built_in.root().level());
        assert_eq!(documented.root().appenders(), built_in.root().appenders());
        let settings = |config: &Config| {
            let text = format!("{:?}", config.appenders()[0].appender());
            text.split_once(", open: ").unwrap().0.to_owned()
        };
        assert!(settings(&built_in).contains(&format!("max_bytes: {MAX_BYTES}")));
        assert_eq!(settings(&documented), settings(&built_in));
    }

    #[test]
    fn a_new_day_a_full_part_and_a_moved_file_begin_a_new_file() {
        let home = tempfile::tempdir().unwrap();
        let config = FileConfig { max_bytes: 10, ..FileConfig::default() };
        let appender = FileAppender::new(place(home.path()), config, None).unwrap();
        std::fs::remove_dir_all(home.path().join(DIR)).unwrap();
        let day = Date::constant(2026, 12, 31);
        let write = |date| (&*appender.file(date).unwrap()).write_all(b"0123456789\n").unwrap();
        write(day);
        write(day);
        write(day.tomorrow().unwrap());
        let expected =
            ["writer-2026-12-31.1.log", "writer-2026-12-31.log", "writer-2027-01-01.log"];
        assert_eq!(names(home.path()), expected);
        let today = home.path().join(DIR).join("writer-2027-01-02.log");
        drop(appender.file(Date::constant(2027, 1, 2)).unwrap());
        std::fs::remove_file(&today).unwrap();
        write(Date::constant(2027, 1, 2));
        assert_eq!(std::fs::read(&today).unwrap(), b"0123456789\n");
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line(b"a\nb\r\x1b[31m\tc\n"), b"a\\nb\\r\\x1b[31m\tc\n");
        assert_eq!(one_line("行\n".as_bytes()), "行\n".as_bytes());
        let mut line = String::new();
        for value in ["plain", "two words", "", "a=b", "quo\"te", "new\nline"] {
            push_pair(&mut line, "k", value);
        }
        let expected = r#" k=plain k="two words" k="" k="a=b" k="quo\"te" k="new\nline""#;
        assert_eq!(line, expected);
    }
}
