//! What people are told: events, the reminder log, receivers, the monitor, the brief.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;
use ssync_common::error::Kind;
use ssync_common::event::{
    Event, Severity, TableEnd, TableOutcome, What, events_between, record, tables_between,
};
use ssync_tests::PATIENCE;
use ssync_tests::listeners::{self, Listener, Mood, closed_port, plain};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Running};

/// The secret of every receiver.
const TOKEN: &str = "receiver-token-0123";

/// A value that must never be seen outside the databases.
const VALUE: &str = "secret-row-value";

/// Two tables of a task: `good`, of whose rows all can go, and `bad`, whose second row the
/// destination refuses.
pub struct Shop {
    pub instance: Instance,
}

impl Shop {
    /// With more settings, of the task and of the whole.
    pub fn new(task: &str, more: &str) -> Shop {
        let mut instance = Instance::new("");
        instance.set_env("TELL_TOKEN", TOKEN);
        instance.set_env("TZ", "UTC");
        let (from, to) =
            (Site::in_file(instance.scratch(), "from"), Site::in_file(instance.scratch(), "to"));
        for table in ["good", "bad"] {
            from.run(&[
                format!(
                    "CREATE TABLE {table} (id INTEGER PRIMARY KEY, v TEXT, \
                     sync_status INTEGER NOT NULL DEFAULT 0)"
                ),
                format!("INSERT INTO {table} (id, v) VALUES (1, 'a'), (2, '{VALUE}'), (3, 'c')"),
            ]);
        }
        to.run(&[
            "CREATE TABLE good (id INTEGER PRIMARY KEY, v TEXT)",
            "CREATE TABLE bad (id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) < 5))",
        ]);
        let table = |name: &str| {
            format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"{name}\"\ndest = \"{name}\"\n\
                 app_resets_status = true\n"
            )
        };
        let config = format!(
            "{}{}{more}\n[[schedule]]\nid = 1\nevery = \"1h\"\nkind = \"realtime\"\n\
             [[task]]\nid = 7\nsource = \"from\"\ndest = \"to\"\nwriters = 1\n{task}\n{}{}",
            from.link("from"),
            to.link("to"),
            table("good"),
            table("bad"),
        );
        instance.apply(&config);
        Shop { instance }
    }

    pub fn events(&self) -> Vec<Event> {
        let all = (Timestamp::UNIX_EPOCH, Timestamp::now() + jiff::Span::new().hours(1));
        events_between(&self.instance.home(), all.0, all.1).unwrap()
    }

    pub fn tables(&self) -> Vec<TableEnd> {
        let all = (Timestamp::UNIX_EPOCH, Timestamp::now() + jiff::Span::new().hours(1));
        tables_between(&self.instance.home(), all.0, all.1).unwrap()
    }

    /// Panics when the value of a row stands in any file of the events or logs.
    fn assert_no_value(&self) {
        for dir in ["events", "logs"] {
            assert_absent(&self.instance.home().join(dir), VALUE);
        }
    }
}

/// Panics when `text` stands in a file under `dir`.
fn assert_absent(dir: &Path, text: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_absent(&path, text);
        } else {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(text), "{}:\n{content}", path.display());
        }
    }
}

#[test]
fn a_finished_table_leaves_a_reminder_and_a_failed_one_an_event() {
    let shop = Shop::new("stop_on_error = false", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let tables = shop.tables();
    let brief: Vec<_> =
        tables.iter().map(|t| (t.table.as_str(), t.result, t.rows, t.bad_rows, t.error)).collect();
    let (done, failed) = (TableOutcome::Done, TableOutcome::Failed);
    assert_eq!(
        brief,
        [("good", done, 3, 0, None), ("bad", failed, tables[1].rows, 1, Some(Kind::Data))]
    );
    assert!(tables.iter().all(|t| t.task == 7 && t.run.is_some() && t.begin < t.end));
    assert!(tables[0].bytes > 0);
    let events = shop.events();
    let brief: Vec<_> =
        events.iter().map(|e| (e.what, e.severity, e.task, e.table.as_deref())).collect();
    assert_eq!(brief, [(What::TaskFailed, Severity::Error, Some(7), Some("bad"))]);
    assert_eq!(events[0].run, tables[1].run);
    assert!(events[0].text.starts_with("task 7, table bad failed: "), "{}", events[0].text);
    shop.assert_no_value();
    // The log names task and table in every line of a table, and the run once there is one.
    let logs = shop.instance.logs();
    for table in &tables {
        let (name, run) = (&table.table, table.run.as_ref().unwrap());
        let begins = format!(" task=7 table={name} begins");
        let ended = |l: &&str| l.contains(&format!(" task=7 table={name} run={run} rows="));
        assert_eq!(logs.lines().filter(|l| l.contains(&begins)).count(), 1, "{logs}");
        assert_eq!(logs.lines().filter(ended).count(), 1, "{logs}");
    }
}

#[test]
fn a_failed_task_of_a_realtime_schedule_is_suspended_and_said_to_be() {
    let shop = Shop::new("schedule = 1", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let whats: Vec<_> = shop.events().iter().map(|e| e.what).collect();
    assert_eq!(whats, [What::TaskFailed, What::TaskSuspended]);
    assert!(shop.events()[1].text.contains("ssync resume 7"));
    // Held: it does not even begin, so nothing is recorded anew.
    shop.instance.run(&["--task", "7"]).expect(130);
    assert_eq!((shop.events().len(), shop.tables().len()), (2, 2));
}

#[test]
fn bad_rows_within_the_limit_are_a_warning() {
    let shop = Shop::new("error_limit = 5", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let events = shop.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].what, events[0].severity), (What::RowsBad, Severity::Warning));
    assert!(events[0].text.contains("1 row is bad"), "{}", events[0].text);
    assert_eq!(shop.tables()[1].result, TableOutcome::DoneWithErrors);
    shop.assert_no_value();
}

#[test]
fn a_spool_that_cannot_be_written_fails_no_run() {
    let shop = Shop::new("stop_on_error = false", "");
    // A file where the directory should be.
    fs::write(shop.instance.home().join("events"), "").unwrap();
    let ran = shop.instance.run(&["--task", "7", "--json"]).expect(1);
    assert_eq!(ran.count("good", "landed"), 3);
    assert!(shop.instance.logs().contains("could not record"), "{}", shop.instance.logs());
}

/// A `[[receiver]]` that posts to this port.
fn webhook(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[receiver]]\nname = \"{name}\"\nkind = \"webhook\"\n\
         url = \"http://127.0.0.1:{port}/send?access_token={{secret}}\"\n\
         secret = {{ env = \"TELL_TOKEN\" }}\nseverity = \"warning\"\n{more}\n"
    )
}

/// A `[[receiver]]` that sends mails to this port, without TLS.
fn mail(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[receiver]]\nname = \"{name}\"\nkind = \"mail\"\nserver = \"127.0.0.1:{port}\"\n\
         tls = \"off\"\nfrom = \"ssync <ssync@example.com>\"\nseverity = \"warning\"\n\
         to = [\"dba@example.com\", \"ops@example.com\"]\n{more}\n"
    )
}

/// Waits until `done` gives something.
#[track_caller]
fn wait_until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Shop {
    fn monitor(&self) -> Running {
        self.instance.start(&["monitor"], "")
    }

    /// `ssync receiver list` of one receiver.
    fn receiver(&self, name: &str) -> Value {
        let ran = self.instance.run(&["receiver", "list", "--json"]).expect(0);
        let list: Value = serde_json::from_str(&ran.stdout).unwrap();
        let found = list["receivers"].as_array().unwrap().iter().find(|r| r["name"] == name);
        found.unwrap_or_else(|| panic!("{list}")).clone()
    }

    /// An event that nobody has to cause.
    fn happen(&self, what: What, text: &str) -> Event {
        let event = Event::new(what, text);
        record(&self.instance.home(), &event);
        event
    }
}

/// Ends a monitor as a service manager does; it has to obey.
fn end(monitor: Running) {
    monitor.signal(Signal::SIGTERM);
    monitor.wait().expect(0);
}

fn ids(server: &Listener<listeners::HttpRequest>) -> Vec<String> {
    let id = |request: &listeners::HttpRequest| {
        let event: Value = serde_json::from_str(&request.body).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    server.got().iter().map(id).collect()
}

#[test]
fn a_failure_reaches_chat_mail_and_program_and_shows_no_secret() {
    let (chat, post) = (listeners::http(0, plain()), listeners::smtp(0, plain()));
    let scratch = tempfile::tempdir().unwrap();
    let told = scratch.path().join("told");
    let more = format!(
        "{}{}[[receiver]]\nname = \"program\"\nkind = \"command\"\ncommand = [\"/bin/sh\", \
         \"-c\", 'cat > \"$0.new\"; echo \"$1\" >> \"$0.new\"; mv \"$0.new\" \"$0\"', \"{}\", \
         \"{{title}}\"]\nevents = [\"task_failed\"]\n[brief]\nlanguage = \"zh\"\n",
        webhook(
            "chat",
            chat.port(),
            "body = '{\"msgtype\":\"text\",\"text\":{\"content\":\"{title}: {text}\"}}'\n\
             headers = { Authorization = \"Bearer {secret}\" }"
        ),
        mail("post", post.port(), ""),
        told.display()
    );
    let shop = Shop::new("stop_on_error = false", &more);
    let monitor = shop.monitor();
    shop.instance.run(&["--task", "7"]).expect(1);
    let failed = &shop.events()[0];

    let request = &chat.wait_for(1)[0];
    assert_eq!(request.line, format!("POST /send?access_token={TOKEN}"));
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(request.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let wanted = format!("任务失败：任务 7，表 bad: {}", failed.text);
    assert_eq!(body["text"]["content"], wanted);

    let mail = &post.wait_for(1)[0];
    assert_eq!(mail.from, "ssync@example.com");
    assert_eq!(mail.to, ["dba@example.com", "ops@example.com"]);
    assert!(mail.text.contains(&failed.text), "{}", mail.text);
    assert!(mail.text.contains(&format!("Message-ID: <{}@ssync>", failed.id)), "{}", mail.text);
    assert!(mail.text.contains("Subject: ") && mail.text.contains("Date: "), "{}", mail.text);

    let text = wait_until("the program's file", || fs::read_to_string(&told).ok());
    let (event, title) = text.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Event>(event).unwrap(), *failed);
    assert_eq!(title.trim(), "任务失败：任务 7，表 bad");

    end(monitor);
    shop.assert_no_value();
    for dir in ["events", "logs"] {
        assert_absent(&shop.instance.home().join(dir), TOKEN);
    }
    assert_eq!(shop.receiver("chat")["told"], 1);
    assert_eq!(shop.receiver("chat")["waiting"], 0);
}

/// The rule for people: a task's number and name, moments in local time with their offset. Programs
/// get numbers, and UTC.
#[test]
fn mail_and_chat_name_tasks_and_tell_local_time_with_its_offset() {
    let (chat, post) = (listeners::http(0, plain()), listeners::smtp(0, plain()));
    let [raw] = std::array::from_fn(|_| listeners::http(0, plain()));
    let body = "body = '{\"title\":\"{title}\",\"text\":\"{text}\",\"time\":\"{time}\"}'";
    let more = webhook("chat", chat.port(), body)
        + &webhook("raw", raw.port(), "")
        + &mail("post", post.port(), "");
    let mut shop = Shop::new("name = \"bills\"\nstop_on_error = false", &more);
    shop.instance.set_env("TZ", "Asia/Shanghai");
    let monitor = shop.monitor();
    shop.instance.run(&["--task", "7"]).expect(1);
    let failed = &shop.events()[0];
    let local = |at: Timestamp| {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
        at.to_zoned(zone).strftime("%F %T%:z").to_string()
    };

    let told: Value = serde_json::from_str(&chat.wait_for(1)[0].body).unwrap();
    assert_eq!(told["title"], "task failed: task 7 (bills), table bad");
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("task 7 (bills), table bad failed: "), "{text}");
    assert_eq!(told["time"], local(failed.at), "{told}");
    let mail = post.wait_for(1)[0].text.clone();
    for part in ["task 7 (bills), table bad failed: ", &local(failed.at)] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    // A moment within a text, and a command that is to be typed.
    let text = "task 7 was paused at 2026-12-01T00:30:00Z: ssync --task 7";
    let event = Event::new(What::WatchdogGaveUp, text).of_task(7);
    record(&shop.instance.home(), &event);
    let wanted = "task 7 (bills) was paused at 2026-12-01 08:30:00+08:00: ssync --task 7";
    let told: Value = serde_json::from_str(&chat.wait_for(2)[1].body).unwrap();
    assert_eq!(told["text"], wanted);
    assert!(post.wait_for(2)[1].text.contains(wanted), "{}", post.got()[1].text);
    // For programs.
    let told: Event = serde_json::from_str(&raw.wait_for(2)[1].body).unwrap();
    assert_eq!(told, event);
    end(monitor);

    let brief = shop.instance.run(&["brief"]).expect(0).stdout;
    let second = brief.lines().nth(1).unwrap();
    assert_eq!(second.matches("+08:00").count(), 2, "{brief}");
    assert!(brief.contains("+08:00  task 7 (bills), table bad failed: "), "{brief}");
    let chart = shop.instance.run(&["history", "--chart"]).expect(0).stdout;
    assert_eq!(chart.matches("+08:00").count(), 2, "{chart}");
}

#[test]
fn a_receiver_that_is_down_slow_or_refusing_delays_no_other_and_is_seen() {
    let down = closed_port();
    let [slow, refusing, pretending, well] = std::array::from_fn(|_| listeners::http(0, plain()));
    slow.behave(Mood::Silent);
    refusing.behave(Mood::Refusing);
    pretending.behave(Mood::Pretending);
    let deaf = listeners::smtp(0, plain());
    deaf.behave(Mood::Faulty);
    let more = [
        webhook("down", down, ""),
        webhook("slow", slow.port(), "timeout_secs = 1"),
        webhook("refusing", refusing.port(), ""),
        webhook("pretending", pretending.port(), ""),
        mail("deaf", deaf.port(), ""),
        "[[receiver]]\nname = \"hanging\"\nkind = \"command\"\ntimeout_secs = 1\n\
         command = [\"/bin/sleep\", \"1000\"]\n"
            .to_owned(),
        webhook("well", well.port(), ""),
    ];
    let shop = Shop::new("", &more.concat());
    let monitor = shop.monitor();
    let first = shop.happen(What::WatchdogRestart, "the first");
    // None of the others is ever served before it, or lets go of the monitor by itself.
    well.wait_for(1);

    // They are seen to be in trouble, and why.
    let troubled = ["down", "slow", "refusing", "pretending", "deaf", "hanging"];
    for name in troubled {
        wait_until(name, || {
            let receiver = shop.receiver(name);
            (receiver["waiting"] == 1 && receiver["error"].is_string()).then_some(())
        });
    }
    let said = |name: &str| shop.receiver(name)["error"].as_str().unwrap().to_owned();
    assert!(said("refusing").contains("400"), "{}", said("refusing"));
    assert!(said("pretending").contains("310000"), "{}", said("pretending"));
    assert!(said("deaf").contains("451") || said("deaf").contains("later"), "{}", said("deaf"));
    assert!(said("hanging").contains("took longer"), "{}", said("hanging"));
    let status = shop.instance.run(&["status"]).expect(0).stdout;
    assert!(status.contains("receiver down: 1 event waits since"), "{status}");

    // Once they are well again, they get what they missed.
    let back = listeners::http(down, plain());
    slow.behave(Mood::Well);
    deaf.behave(Mood::Well);
    assert!(back.wait_for(1)[0].body.contains(&first.id));
    assert!(slow.wait_for(1)[0].body.contains(&first.id));
    assert!(deaf.wait_for(1)[0].text.contains(&first.id));
    // What is refused for itself holds up nothing for ever.
    wait_until("the end of refusals", || {
        (shop.receiver("refusing")["given_up"] == 1).then_some(())
    });
    refusing.behave(Mood::Well);
    let second = shop.happen(What::WatchdogGaveUp, "the second");
    assert!(refusing.wait_for(1)[0].body.contains(&second.id));
    well.wait_for(2);
    // It is told first and noted then.
    wait_until("the second to be noted", || {
        (shop.receiver("refusing")["waiting"] == 0).then_some(())
    });
    end(monitor);
    assert_absent(&shop.instance.home().join("logs"), TOKEN);
    assert_absent(&shop.instance.home().join("events"), TOKEN);
}

#[test]
fn a_killed_monitor_tells_everything_at_least_once_and_not_for_ever() {
    let chat = listeners::http(0, plain());
    let shop = Shop::new("", &webhook("chat", chat.port(), ""));
    let mut sent = Vec::new();
    for round in 0..5 {
        let monitor = shop.monitor();
        for n in 0..8 {
            let text = format!("{round}.{n}");
            sent.push(shop.happen(What::WatchdogGaveUp, &text).id);
        }
        if round < 4 {
            // In the midst of it, mostly.
            chat.wait_for(round * 8 + 2);
            monitor.signal(Signal::SIGKILL);
            monitor.wait();
        } else {
            wait_until("the last one", || ids(&chat).contains(&sent[39]).then_some(()));
            wait_until("its note", || (shop.receiver("chat")["waiting"] == 0).then_some(()));
            end(monitor);
        }
    }
    let told = ids(&chat);
    let missing: Vec<_> = sent.iter().filter(|id| !told.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // One may be told again for each time that the monitor was killed.
    assert!(told.len() <= sent.len() + 4, "{} for {}", told.len(), sent.len());
    let mut in_order = told.clone();
    in_order.dedup();
    assert_eq!(in_order, sent);
    // All is told: another monitor has nothing to do, until something happens.
    let monitor = shop.monitor();
    let last = shop.happen(What::WatchdogGaveUp, "afterwards").id;
    chat.wait_for(told.len() + 1);
    assert_eq!(ids(&chat)[told.len()..], [last]);
    end(monitor);
}

#[test]
fn a_task_that_does_not_move_and_one_that_died_are_told() {
    let chat = listeners::http(0, plain());
    let more =
        webhook("chat", chat.port(), "events = [\"task_stuck\", \"task_moves\", \"task_died\"]")
            + "[monitor]\nprogress_deadline = \"1s\"\n";
    let shop = Shop::new("", &more);
    let monitor = shop.monitor();
    let mut run = shop.instance.start(&["--task", "7"], "run.after_lock@*=pause");
    run.reached("run.after_lock").unwrap();
    let whats = |count: usize| -> Vec<String> {
        let what = |r: &listeners::HttpRequest| -> Value { serde_json::from_str(&r.body).unwrap() };
        chat.wait_for(count).iter().map(|r| what(r)["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(whats(1), ["task_stuck"]);
    let text = &shop.events()[0].text;
    assert!(text.starts_with("task 7, table good has made no progress"), "{text}");
    run.signal(Signal::SIGKILL);
    run.wait();
    assert_eq!(whats(2), ["task_stuck", "task_died"]);
    // Another monitor does not say it again, nor of a run that ends as it should.
    end(monitor);
    let monitor = shop.monitor();
    shop.happen(What::TaskMoves, "a mark");
    assert_eq!(whats(3)[2..], ["task_moves"]);
    shop.instance.run(&["--task", "7"]).expect(1);
    let died = shop.events().iter().filter(|e| e.what == What::TaskDied).count();
    assert_eq!(died, 1);
    end(monitor);
}

#[test]
fn the_brief_is_sent_once_a_day_in_its_language() {
    let chat = listeners::http(0, plain());
    let more = webhook(
        "chat",
        chat.port(),
        "body = '{text}'\nheaders = { Content-Type = \"text/plain\" }",
    ) + "[brief]\nat = \"00:00\"\nlanguage = \"zh\"\n";
    let shop = Shop::new("stop_on_error = false\nschedule = 1", &more);
    shop.instance.run(&["--task", "7"]).expect(1);
    // As left by a monitor that sent one the day before yesterday.
    let state = shop.instance.home().join("events").join("monitor.json");
    let until = Timestamp::now() - jiff::Span::new().hours(48);
    fs::write(&state, format!("{{\"briefed_until\":\"{until}\"}}")).unwrap();
    let briefs = || -> Vec<String> {
        let all = chat.got();
        all.into_iter().map(|r| r.body).filter(|body| body.starts_with("ssync 日报")).collect()
    };
    let monitor = shop.monitor();
    let brief = wait_until("the brief", || briefs().pop());
    assert!(brief.contains(" 至 "), "{brief}");
    assert!(
        brief.contains("任务 7：自 ") && brief.contains(" 起挂起：表 bad：错误行 1 行"),
        "{brief}"
    );
    // Killed before it has noted that somebody was told, it would tell him again.
    wait_until("its note", || (shop.receiver("chat")["waiting"] == 0).then_some(()));
    monitor.signal(Signal::SIGKILL);
    monitor.wait();
    // Nobody remembers that it was sent, but that it was recorded.
    fs::write(&state, format!("{{\"briefed_until\":\"{until}\"}}")).unwrap();
    let monitor = shop.monitor();
    let done = |text: &str| {
        serde_json::from_str::<Value>(text).ok()?["briefed_until"].as_str().map(str::to_owned)
    };
    wait_until("the note", || {
        fs::read_to_string(&state)
            .ok()
            .and_then(|t| done(&t))
            .filter(|at| at.ends_with("T00:00:00Z"))
    });
    shop.happen(What::WatchdogGaveUp, "afterwards");
    wait_until("what came afterwards", || {
        chat.got().iter().any(|r| r.body == "afterwards").then_some(())
    });
    assert_eq!(briefs().len(), 1);
    end(monitor);
}

#[test]
fn the_brief_can_be_asked_for() {
    let shop = Shop::new("stop_on_error = false", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let ran = shop.instance.run(&["brief"]).expect(0);
    assert!(ran.stdout.contains("2 runs of 2 tables (1 task): "), "{ran}");
    assert!(ran.stdout.contains("What went wrong:\n") && ran.stdout.contains("Slowest:"), "{ran}");
    assert!(!ran.stdout.contains(VALUE), "{ran}");
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&shop.instance.run(args).expect(0).stdout).unwrap()
    };
    let today = Timestamp::now().to_string()[..10].to_owned();
    let brief = json(&["brief", "--date", &today, "--json"]);
    assert_eq!(brief["brief"]["failed_runs"], 1, "{brief}");
    assert_eq!(brief["brief"]["bad_rows"], 1, "{brief}");
    assert_eq!(brief["brief"]["tables"].as_array().unwrap().len(), 2, "{brief}");
    let empty = json(&["brief", "--date", "2020-02-29", "--json"]);
    assert_eq!(empty["brief"]["runs"], 0);
    shop.instance.run(&["brief", "--date", "2021-02-29"]).expect(2);
}

#[test]
fn a_second_monitor_is_refused_and_receivers_can_be_tried_out() {
    let (chat, post) = (listeners::http(0, plain()), listeners::smtp(0, plain()));
    let more = webhook("chat", chat.port(), "") + &mail("post", post.port(), "");
    let shop = Shop::new("", &more);
    let list = |shop: &Shop| -> Value {
        let ran = shop.instance.run(&["receiver", "list", "--json"]).expect(0);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    assert_eq!(list(&shop)["monitor_running"], false);
    let monitor = shop.monitor();
    wait_until("the monitor", || (list(&shop)["monitor_running"] == true).then_some(()));
    let second = shop.instance.run(&["monitor"]).expect(1);
    assert!(second.stderr.contains(&format!("process {}", monitor.pid())), "{second}");
    end(monitor);
    shop.instance.run(&["receiver", "test"]).expect(0);
    assert!(chat.got()[0].body.contains("\"test\"") && post.got().len() == 1);
    chat.behave(Mood::Faulty);
    let ran = shop.instance.run(&["receiver", "test", "chat"]).expect(1);
    assert!(ran.stderr.contains("status 503") && !ran.stderr.contains(TOKEN), "{ran}");
    shop.instance.run(&["receiver", "test", "nobody"]).expect(2);
}

#[test]
fn tls_is_verified_and_nothing_is_sent_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let right = listeners::certificates(dir.path(), "right");
    let wrong = listeners::certificates(dir.path(), "wrong");
    let chat = listeners::http(0, listeners::tls(&right));
    let post = listeners::smtp(0, listeners::tls(&right));
    let clear = listeners::smtp(0, plain());
    let begun_clear = listeners::smtp_starttls(0, &right);
    let hook = |name: &str, ca: &Path| {
        let more = format!("tls_ca_file = \"{}\"", ca.display());
        webhook(name, chat.port(), &more).replace("http://", "https://")
    };
    let letter = |name: &str, port: u16, tls: &str, ca: &Path| {
        let more = format!(
            "tls_ca_file = \"{}\"\nuser = \"ssync\"\npassword = {{ env = \"TELL_TOKEN\" }}",
            ca.display()
        );
        mail(name, port, &more).replace("tls = \"off\"", &format!("tls = \"{tls}\""))
    };
    let more = [
        hook("hook", &right.ca),
        hook("hook-wrong", &wrong.ca),
        letter("mail", post.port(), "implicit", &right.ca),
        letter("mail-wrong", post.port(), "implicit", &wrong.ca),
        letter("mail-starttls", begun_clear.port(), "starttls", &right.ca),
        letter("mail-starttls-wrong", begun_clear.port(), "starttls", &wrong.ca),
        letter("mail-clear", clear.port(), "starttls", &right.ca),
    ];
    let shop = Shop::new("", &more.concat());
    let test = |name: &str, code: i32| shop.instance.run(&["receiver", "test", name]).expect(code);
    test("hook", 0);
    test("mail", 0);
    test("mail-starttls", 0);
    assert_eq!(chat.got()[0].line, format!("POST /send?access_token={TOKEN}"));
    assert_eq!(post.got()[0].account, Some(format!("ssync {TOKEN}")));
    let mail = begun_clear.got().remove(0);
    assert_eq!(mail.account, Some(format!("ssync {TOKEN}")));
    assert_eq!((mail.from.as_str(), mail.to.len()), ("ssync@example.com", 2));
    for name in ["hook-wrong", "mail-wrong", "mail-starttls-wrong", "mail-clear"] {
        let ran = test(name, 1);
        assert!(!ran.stderr.contains(TOKEN), "{ran}");
    }
    assert_eq!((chat.got().len(), post.got().len(), clear.got().len()), (1, 1, 0));
    assert_eq!(begun_clear.got().len(), 1);
}
