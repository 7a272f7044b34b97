//! Files of entries that wait for the configuration database: `run/books/<origin>.jsonl`. The first
//! line says whose it is, every other one is an entry with its number.
//!
//! The process that writes a file holds a `flock` on it as long as it lives. Whoever can lock a
//! file has before him what a dead process has left.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::process::RunId;
use ssync_common::store::{Entry, Hold};

/// What the names of files end with.
const SUFFIX: &str = ".jsonl";
/// What the names of files end with that nobody could read.
const DAMAGED: &str = ".damaged";
/// What the names of files end with whose entries the database did not take.
const REFUSED: &str = ".refused";
/// Bytes of entries that are handed out at once.
const GROUP_BYTES: usize = 256 << 10;

/// Whose entries a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The process.
    pub origin: RunId,
    /// The configuration database they are for.
    pub instance: String,
    /// The task.
    pub task: u32,
    /// Process id.
    pub pid: u32,
    /// Since when the database was out of reach.
    pub since: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Line {
    no: u64,
    entry: Entry,
}

/// An entry that the database did not take, for people.
#[derive(Serialize)]
struct Refused<'a> {
    no: Option<u64>,
    error: String,
    entry: &'a serde_json::Value,
}

/// Directory of the files of a home.
pub fn dir(home: &Path) -> PathBuf {
    home.join("run").join("books")
}

/// Makes the directory.
pub fn make_dir(home: &Path) -> Result<PathBuf> {
    let dir = dir(home);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|e| Error::from(e).context(format!("could not create {}", dir.display())))?;
    Ok(dir)
}

/// A file that this process writes.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: Flock<File>,
    /// Bytes that are on the disk, in whole lines.
    len: u64,
}

impl Spool {
    /// Makes the file.
    pub fn create(home: &Path, header: &Header) -> Result<Spool> {
        let dir = make_dir(home)?;
        let path = dir.join(format!("{}{SUFFIX}", header.origin));
        // Nobody sees it before it is locked.
        let new = dir.join(format!("{}.new", header.origin));
        let made = (|| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).mode(0o600).open(&new)?;
            let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
                .map_err(|(_, e)| Error::from(e))?;
            let len = put(&mut file, 0, &line(header)?)?;
            std::fs::rename(&new, &path)?;
            File::open(&dir)?.sync_all()?;
            Ok(Spool { path: path.clone(), file, len })
        })();
        made.map_err(|e: Error| {
            let _ = std::fs::remove_file(&new);
            unwritable(e, &path)
        })
    }

    /// Appends an entry; it is on the disk when this returns. A failure leaves the file as it was.
    pub fn append(&mut self, no: u64, entry: &Entry) -> Result<()> {
        let bytes = line(&Line { no, entry: entry.clone() })?;
        match put(&mut self.file, self.len, &bytes) {
            Ok(len) => self.len = len,
            Err(e) => {
                // What is left of it is no whole line, and is stepped over.
                let _ = self.file.set_len(self.len);
                return Err(unwritable(e, &self.path));
            }
        }
        failpoint::hit("books.kept", no);
        Ok(())
    }

    /// Reads what has been written so far.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(File::open(&self.path)?)
    }

    /// Bytes that are on the disk.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Takes the file away.
    pub fn remove(self) -> Result<()> {
        Ok(std::fs::remove_file(&self.path)?)
    }
}

fn line(what: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(what)
        .map_err(|e| Error::new(Kind::Internal, format!("an entry is no JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn put(file: &mut File, at: u64, bytes: &[u8]) -> Result<u64> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(at + bytes.len() as u64)
}

fn unwritable(e: Error, path: &Path) -> Error {
    e.context(format!("could not keep the records of the run in {}", path.display())).hint(
        "The configuration database is out of reach, and what was to be written there finds no \
         other place. What has landed is kept, and the next run goes on from there. Make room on the \
         file system, or bring the database back.",
    )
}

/// Reads a file from its beginning.
pub struct Reader {
    from: BufReader<File>,
    /// Bytes of whole lines that were read.
    pos: u64,
    /// Whose it is.
    pub header: Header,
}

/// Part of a file.
#[derive(Default)]
pub struct Group {
    /// Entries.
    pub entries: Vec<(u64, Entry)>,
    /// Lines that are none.
    pub damaged: Vec<String>,
}

impl Reader {
    fn open(file: File) -> Result<Reader> {
        let mut reader = Reader {
            from: BufReader::new(file),
            pos: 0,
            header: Header {
                origin: RunId([0; 16]),
                instance: String::new(),
                task: 0,
                pid: 0,
                since: Timestamp::UNIX_EPOCH,
            },
        };
        let line = reader.line()?.unwrap_or_default();
        reader.header = serde_json::from_slice(&line).map_err(|_| {
            Error::new(Kind::Config, "the first line does not say whose records these are")
        })?;
        Ok(reader)
    }

    /// Bytes that were read.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// The next lines; none at the end of the file. A last line without an end is none: it was
    /// being written when its process died, and nobody was told that it is kept.
    pub fn group(&mut self) -> Result<Option<Group>> {
        let mut group = Group::default();
        let mut bytes = 0;
        while bytes < GROUP_BYTES {
            let Some(line) = self.line()? else { break };
            bytes += line.len();
            match serde_json::from_slice::<Line>(&line) {
                Ok(Line { no, entry }) => group.entries.push((no, entry)),
                Err(_) => group.damaged.push(String::from_utf8_lossy(&line).into_owned()),
            }
        }
        Ok((bytes > 0).then_some(group))
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.from.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            // More of it may come.
            self.from.seek(SeekFrom::Start(self.pos))?;
            return Ok(None);
        }
        self.pos += read as u64;
        Ok(Some(line))
    }
}

/// Whether the process that writes the file may be alive; also when there is no such file any more.
pub fn writer_lives(path: &Path) -> bool {
    let pid = File::open(path).map_err(Error::from).and_then(Reader::open).map(|r| r.header.pid);
    pid.map_or(true, |pid| Path::new(&format!("/proc/{pid}")).exists())
}

/// A file that a dead process has left, locked.
pub struct Left {
    /// Where it is.
    pub path: PathBuf,
    file: Flock<File>,
}

impl Left {
    /// Locks a file; `None` when its process lives, somebody else is at it, or it is gone.
    pub fn take(path: &Path) -> Result<Option<Left>> {
        let file = match File::open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, e)) => return Err(e.into()),
        };
        // Whoever had it before may have dealt with it.
        let here = std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        let mine = file.metadata()?;
        Ok((here == Some((mine.dev(), mine.ino()))).then_some(Left { path: path.to_owned(), file }))
    }

    /// Reads it.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(self.file.try_clone()?)
    }

    /// Takes the file away.
    pub fn remove(self) -> Result<()> {
        Ok(std::fs::remove_file(&self.path)?)
    }

    /// Puts it aside for people; where it is then.
    pub fn put_aside(self) -> Result<PathBuf> {
        let aside = with_suffix(&self.path, DAMAGED);
        std::fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Keeps an entry that the database did not take; where it is then.
pub fn keep_refused(
    home: &Path,
    origin: RunId,
    no: Option<u64>,
    entry: &serde_json::Value,
    error: &str,
) -> Result<PathBuf> {
    let path = make_dir(home)?.join(format!("{origin}{SUFFIX}{REFUSED}"));
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(&line(&Refused { no, error: error.to_owned(), entry })?)?;
    file.sync_data()?;
    Ok(path)
}

/// The files there are, whoever writes them.
pub fn files(home: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir(home)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(SUFFIX)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// How a task is held, of which only entries in files tell that another process has left, for this
/// database.
pub fn holds(home: &Path, instance: &str, task: u32) -> Vec<Hold> {
    let one = |path: &PathBuf| -> Result<Vec<Hold>> {
        let mut reader = Reader::open(File::open(path)?)?;
        let Header { instance: of, task: about, pid, .. } = &reader.header;
        if of != instance || *about != task || *pid == std::process::id() {
            return Ok(Vec::new());
        }
        let mut holds = Vec::new();
        while let Some(group) = reader.group()? {
            holds.extend(group.entries.iter().filter_map(|(_, entry)| entry.hold()));
        }
        Ok(holds)
    };
    // One that is gone meanwhile is in the database.
    files(home).unwrap_or_default().iter().flat_map(|path| one(path).unwrap_or_default()).collect()
}

/// Entries that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The task they are about.
    pub task: u32,
    /// The process that wrote them.
    pub pid: u32,
    /// Since when the configuration database was out of reach.
    pub since: Timestamp,
    /// How many. Some may be in the database already.
    pub entries: u64,
}

impl Waiting {
    /// In a line.
    pub fn words(&self) -> String {
        format!("task {}: {}", self.task, self.about_task())
    }

    /// In a line that has named the task.
    pub fn about_task(&self) -> String {
        let records = match self.entries {
            1 => "1 record is kept in run/books and waits".to_owned(),
            n => format!("{n} records are kept in run/books and wait"),
        };
        format!(
            "{records} to be written to the configuration database, which was out of reach at {:.0} \
             (process {})",
            self.since, self.pid
        )
    }
}

/// What waits, of one task or of all.
pub fn waiting(home: &Path, task: Option<u32>) -> Vec<Waiting> {
    let one = |path: &PathBuf| -> Result<Waiting> {
        let mut reader = Reader::open(File::open(path)?)?;
        let mut rest = vec![0; 64 << 10];
        let mut entries = 0;
        loop {
            match reader.from.read(&mut rest)? {
                0 => break,
                n => entries += rest[..n].iter().filter(|b| **b == b'\n').count() as u64,
            }
        }
        let Header { task, pid, since, .. } = reader.header;
        Ok(Waiting { task, pid, since, entries })
    };
    let all = files(home).unwrap_or_default();
    // One that is gone meanwhile waits no more.
    let mut found: Vec<_> = all.iter().filter_map(|path| one(path).ok()).collect();
    found.retain(|w| task.is_none_or(|task| w.task == task));
    found.sort_by_key(|w| w.since);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn header(n: u8) -> Header {
        let origin = RunId([n; 16]);
        Header { origin, instance: "i".into(), task: 7, pid: 1, since: Timestamp::UNIX_EPOCH }
    }

    fn suspend(n: u32) -> Entry {
        Entry::Suspend { task: n, reason: "x".into(), error: None, at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_was_appended_is_read_and_a_torn_line_is_not() {
        let home = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(home.path(), &header(1)).unwrap();
        let mode = std::fs::metadata(&spool.path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        for n in 1..=3 {
            spool.append(n, &suspend(n as u32)).unwrap();
        }
        let path = spool.path.clone();
        // Alive: nobody else takes it.
        assert!(Left::take(&path).unwrap().is_none());
        drop(spool);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"no":4,"entry":{"susp"#).unwrap();
        let left = Left::take(&path).unwrap().unwrap();
        assert!(Left::take(&path).unwrap().is_none(), "one at a time");
        let mut reader = left.reader().unwrap();
        assert_eq!(reader.header, header(1));
        let group = reader.group().unwrap().unwrap();
        let numbers: Vec<_> = group.entries.iter().map(|(no, _)| *no).collect();
        assert_eq!((numbers, group.damaged.len()), (vec![1, 2, 3], 0));
        assert!(reader.group().unwrap().is_none());
        assert_eq!(waiting(home.path(), None)[0].entries, 3);
        left.remove().unwrap();
        assert!(files(home.path()).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_does_not_fit_on_the_disk_leaves_those_before_it() {
        let home = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(home.path(), &header(2)).unwrap();
        spool.append(1, &suspend(1)).unwrap();
        // As after a write of which only a part went through.
        spool.file.seek(SeekFrom::End(0)).unwrap();
        spool.file.write_all(b"{\"no\":2,").unwrap();
        spool.append(2, &suspend(2)).unwrap();
        let group = spool.reader().unwrap().group().unwrap().unwrap();
        assert_eq!(group.entries.len(), 2);
        assert!(group.damaged.is_empty());
    }
}
