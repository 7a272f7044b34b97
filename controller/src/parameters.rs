//! The detailed parameters of tasks (A20), as the controller puts them into shared memory and
//! everybody reads them there: task processes to run by, commands to show.

use std::path::Path;

use serde::{Deserialize, Serialize};
use ssync_common::config::{Config, Link, Schedule, ScheduleKind, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::Arena;
use ssync_common::shm::arena::Digest;

use crate::terminal::counted;

/// One task with everything that its run goes by, but no secret, nor where one comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The task: tables, columns, SQL before and after.
    pub task: Task,
    /// Its schedule.
    pub schedule: Option<Schedule>,
    /// Its source: address, connections allowed.
    pub source: Link,
    /// Its destination.
    pub dest: Link,
}

impl Parameters {
    /// Of a configured task.
    ///
    /// # Errors
    /// [`Kind::Config`] when one of its links is missing.
    pub fn of(config: &Config, task: &Task) -> Result<Parameters> {
        let link = |name: &str| {
            let found = config.links.iter().find(|l| l.name == name);
            found
                .map(|link| Link { password: None, ..link.clone() })
                .ok_or_else(|| Error::new(Kind::Config, format!("there is no link {name}")))
        };
        Ok(Parameters {
            schedule: task
                .schedule
                .and_then(|id| config.schedules.iter().find(|s| s.id == id))
                .cloned(),
            source: link(&task.source)?,
            dest: link(&task.dest)?,
            task: task.clone(),
        })
    }

    /// Whether a failure of the task suspends it (A16).
    pub fn is_realtime(&self) -> bool {
        self.schedule.as_ref().is_some_and(|s| s.kind == ScheduleKind::Realtime)
    }

    /// Whether it is fired more often than once a minute.
    pub fn fires_often(&self) -> bool {
        self.schedule.as_ref().is_some_and(Schedule::fires_often)
    }

    fn parse(text: &[u8]) -> Result<Parameters> {
        serde_json::from_slice(text).map_err(|e| {
            Error::new(Kind::System, "the task's parameters in shared memory cannot be read")
                .detail(e.to_string())
                .hint("Was ssync replaced while its daemon ran? Then start the daemon again.")
        })
    }
}

/// Puts the parameters of every task into shared memory, as a new generation.
///
/// # Errors
/// [`Kind::Full`] when there is no room.
pub fn publish(home: &Path, config: &Config) -> Result<Arena> {
    let mut texts = Vec::with_capacity(config.tasks.len());
    for task in &config.tasks {
        match Parameters::of(config, task) {
            Ok(parameters) => {
                let text = serde_json::to_vec(&parameters)
                    .map_err(|e| Error::new(Kind::Internal, format!("parameters: {e}")))?;
                texts.push((task.id, text));
            }
            // Its start will say so.
            Err(e) => log::warn!(task = task.id; "{e}"),
        }
    }
    let arena = Arena::publish(home, &texts)?;
    log::info!(
        generation = arena.generation(), bytes = arena.bytes();
        "the parameters of {} are in shared memory", counted(texts.len() as u64, "task")
    );
    Ok(arena)
}

/// Where a task process finds its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The task.
    pub task: u32,
    generation: u64,
    digest: Digest,
}

impl Reference {
    /// To a task in this arena, after a look that a task process will find it there, whole.
    ///
    /// # Errors
    /// [`Kind::System`] when it will not.
    pub fn to(home: &Path, arena: &Arena, task: u32) -> Result<Reference> {
        let digest = arena.digest(task).ok_or_else(|| unknown(task))?;
        let reference = Reference { task, generation: arena.generation(), digest };
        reference.read(home)?;
        Ok(reference)
    }

    /// In the task process: the parameters, which are those that were meant.
    ///
    /// # Errors
    /// [`Kind::System`] when they are gone, damaged, or others.
    pub fn read(&self, home: &Path) -> Result<Parameters> {
        let arena = Arena::open(home, self.generation)?;
        let text = arena.read(self.task)?.ok_or_else(|| unknown(self.task))?;
        let parameters = Parameters::parse(&text)?;
        if arena.digest(self.task) != Some(self.digest) || parameters.task.id != self.task {
            return Err(Error::new(
                Kind::System,
                format!("the parameters of task {} in shared memory are others", self.task),
            )
            .detail(format!("generation {}", self.generation))
            .hint("Nothing was started by them. Start the daemon again."));
        }
        Ok(parameters)
    }
}

fn unknown(task: u32) -> Error {
    Error::new(Kind::System, format!("task {task} is not among the parameters in shared memory"))
}

/// What is in force, as a reader finds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InForce {
    /// Grows with each change; milliseconds since 1970 of its publication, unless clocks were set.
    pub generation: u64,
    /// Every task.
    pub tasks: Vec<Parameters>,
}

impl InForce {
    /// Reads the newest parameters of `home`; `None` when no controller runs that has published
    /// any.
    ///
    /// # Errors
    /// [`Kind::System`] when they are damaged, or of another version.
    pub fn read(home: &Path) -> Result<Option<InForce>> {
        // A home that does not exist yet has no memory either.
        if !home.exists() {
            return Ok(None);
        }
        let Some(arena) = Arena::newest(home)? else { return Ok(None) };
        let mut tasks = Vec::new();
        for task in arena.tasks() {
            if let Some(text) = arena.read(task)? {
                tasks.push(Parameters::parse(&text)?);
            }
        }
        Ok(Some(InForce { generation: arena.generation(), tasks }))
    }

    /// One of the tasks.
    pub fn task(&self, id: u32) -> Option<&Parameters> {
        self.tasks.iter().find(|p| p.task.id == id)
    }
}
