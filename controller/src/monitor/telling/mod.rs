//! Telling one receiver one event, once. Whether it is tried again is `delivery`'s business.

mod command;
mod mail;
mod webhook;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ssync_common::config::{Language, Receiver, TaskNames, Way};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, What};
use ssync_common::store::receiver_secret;

use crate::clock::{localized, shown};

/// Why somebody could not be told.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong; never the secret.
    pub error: Error,
    /// Whether this message was refused, so that another one may well be taken.
    pub refused: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, refused: false }
    }
}

/// Set when the monitor is to end.
pub type Stop = AtomicBool;

/// How events are worded for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wording {
    /// In this language, as far as texts are ours.
    pub language: Language,
    /// With the names of tasks.
    pub names: TaskNames,
}

/// An event with everything that templates may ask for.
pub struct Message {
    event: Event,
    text: String,
    title: String,
    json: String,
    task: String,
    time: String,
    secret: Option<String>,
}

impl Message {
    fn new(event: &Event, wording: &Wording, secret: Option<String>) -> Result<Message> {
        let json = serde_json::to_string(event)
            .map_err(|e| Error::new(Kind::Internal, format!("an event is no JSON: {e}")))?;
        Ok(Message {
            title: title(event, wording),
            json,
            task: event.task.map(|task| task.to_string()).unwrap_or_default(),
            time: shown(event.at),
            text: localized(&wording.names.named(&event.text)).into_owned(),
            event: event.clone(),
            secret,
        })
    }

    /// What a place of a template stands for.
    fn value(&self, place: &str) -> Option<&str> {
        Some(match place {
            "text" => &self.text,
            "title" => &self.title,
            "what" => self.event.what.name(),
            "severity" => self.event.severity.name(),
            "task" => &self.task,
            "table" => self.event.table.as_deref()?,
            "run" => self.event.run.as_deref()?,
            "time" => &self.time,
            "host" => &self.event.host,
            "id" => &self.event.id,
            "event" => &self.json,
            "secret" => self.secret.as_deref()?,
            _ => return None,
        })
    }

    /// The text without the secret, wherever it may have been quoted.
    fn without_secret(&self, text: &str) -> String {
        match self.secret.as_deref().filter(|s| !s.is_empty()) {
            Some(secret) => {
                use ssync_common::config::template::{Escape, fill};
                let as_in_url = fill("{secret}", Escape::Url, |_| Some(secret));
                text.replace(secret, "…").replace(&as_in_url, "…")
            }
            None => text.to_owned(),
        }
    }
}

/// Tells `receiver`; returns when it has been told.
///
/// # Errors
/// Why it could not be told, within the receiver's time.
pub fn tell(
    receiver: &Receiver,
    event: &Event,
    wording: &Wording,
    stop: &Stop,
) -> Result<(), Failure> {
    // Looked up each time: a file that is changed holds from then on.
    let secret = receiver.way.secret().map(|source| receiver_secret(&receiver.name, source));
    let secret = match secret.transpose()? {
        Some(secret) => Some(secret.expose_str().map(str::to_owned).ok_or_else(|| {
            Error::new(Kind::Config, format!("the secret of receiver {} is no text", receiver.name))
        })?),
        None => None,
    };
    let message = Message::new(event, wording, secret)?;
    let timeout = Duration::from_secs(receiver.timeout_secs);
    match &receiver.way {
        Way::Command(way) => command::tell(way, &message, timeout, stop),
        Way::Webhook(way) => webhook::tell(way, &message, timeout),
        Way::Mail(way) => mail::tell(way, &message, timeout),
    }
}

fn is_set(stop: &Stop) -> bool {
    stop.load(Ordering::Relaxed)
}

/// A few words for a subject line.
fn title(event: &Event, wording: &Wording) -> String {
    let words = match (wording.language, event.what) {
        (Language::En, What::ControllerStarted) => "daemon started".to_owned(),
        (Language::En, What::ControllerStopped) => "daemon stopped".to_owned(),
        (Language::En, What::ControllerDown) => "daemon down".to_owned(),
        (Language::En, what) => what.name().replace('_', " "),
        (Language::Zh, what) => match what {
            What::TaskFailed => "任务失败",
            What::TaskSuspended => "任务已挂起",
            What::TaskResumed => "任务已自动恢复",
            What::TaskStuck => "任务无进展",
            What::TaskMoves => "任务恢复进展",
            What::TaskDied => "任务进程意外终止",
            What::TaskKilled => "任务进程已被结束",
            What::RowsBad => "有错误行",
            What::ServerChanged => "表所在服务器已变更",
            What::FiringsMissed => "错过调度",
            What::TasksFull => "任务数已达上限",
            What::ConfigurationLost => "配置库无法访问",
            What::ConfigurationBack => "配置库已恢复",
            What::RecordsRefused => "运行记录未能写入配置库",
            What::ControllerStarted => "守护进程已启动",
            What::ControllerStopped => "守护进程已停止",
            What::ControllerDown => "守护进程已异常退出或无响应",
            What::WatchdogRestart => "看门狗重启了守护进程",
            What::WatchdogGaveUp => "看门狗放弃重启",
            What::DailyBrief => "日报",
            What::TableDone => "表传输结束",
            What::Test => "测试",
        }
        .to_owned(),
    };
    let task = event.task.map(|task| wording.names.label(task));
    match (wording.language, task, &event.table) {
        (_, None, _) => words,
        (Language::En, Some(task), None) => format!("{words}: task {task}"),
        (Language::En, Some(task), Some(table)) => format!("{words}: task {task}, table {table}"),
        (Language::Zh, Some(task), None) => format!("{words}：任务 {task}"),
        (Language::Zh, Some(task), Some(table)) => format!("{words}：任务 {task}，表 {table}"),
    }
}
