//! What went wrong, in Chinese. Events are recorded in English, for logs and programs, so that the
//! brief translates them: by a list of what ssync writes, with places for what differs. What another
//! program has said, a database above all, stays as it is.

/// English and Chinese, the more specific first. A place, `{}`, is translated by the same list; of
/// places the Chinese text has as many, in the same order.
const LIST: &[(&str, &str)] = &[
    // A task or a table.
    ("task {}, table {} failed: {}", "任务 {}，表 {} 失败：{}"),
    ("task {}, table {} failed", "任务 {}，表 {} 失败"),
    ("task {} cannot be started: {}", "任务 {} 无法启动：{}"),
    ("task {} is due and waits: {}", "任务 {} 已到期，正在等待：{}"),
    (
        "task {}, table {} has made no progress for {} s (phase: {}, waiting for: {}); 1 row landed so far",
        "任务 {}，表 {} 已 {} 秒无进展（阶段：{}，等待：{}），目前已写入 1 行",
    ),
    (
        "task {}, table {} has made no progress for {} s (phase: {}, waiting for: {}); {} rows landed so far",
        "任务 {}，表 {} 已 {} 秒无进展（阶段：{}，等待：{}），目前已写入 {} 行",
    ),
    (
        "task {}, table {} has made no progress for {} s (phase: {}); 1 row landed so far",
        "任务 {}，表 {} 已 {} 秒无进展（阶段：{}），目前已写入 1 行",
    ),
    (
        "task {}, table {} has made no progress for {} s (phase: {}); {} rows landed so far",
        "任务 {}，表 {} 已 {} 秒无进展（阶段：{}），目前已写入 {} 行",
    ),
    (
        "task {} has made no progress for {} s (phase: {}, waiting for: {}); 1 row landed so far",
        "任务 {} 已 {} 秒无进展（阶段：{}，等待：{}），目前已写入 1 行",
    ),
    (
        "task {} has made no progress for {} s (phase: {}, waiting for: {}); {} rows landed so far",
        "任务 {} 已 {} 秒无进展（阶段：{}，等待：{}），目前已写入 {} 行",
    ),
    (
        "task {} has made no progress for {} s (phase: {}); 1 row landed so far",
        "任务 {} 已 {} 秒无进展（阶段：{}），目前已写入 1 行",
    ),
    (
        "task {} has made no progress for {} s (phase: {}); {} rows landed so far",
        "任务 {} 已 {} 秒无进展（阶段：{}），目前已写入 {} 行",
    ),
    (
        "the task process (process {}) of {} has died without ending its run; the next run settles \
         what has landed and sends the rest",
        "任务进程（进程 {}）意外终止：{}。下次运行将核销已写入的行，并发送其余行",
    ),
    (
        "the task process of {} has died without ending its run; the next run settles what has landed \
         and sends the rest",
        "任务进程意外终止：{}。下次运行将核销已写入的行，并发送其余行",
    ),
    ("schedule {}: firings skipped: {}", "调度 {}：跳过了若干次触发：{}"),
    // The daemon, and the configuration database.
    ("{}: schedules do not fire until it is started again", "{}，重新启动之前调度不会触发"),
    ("the daemon has died", "守护进程已异常退出"),
    ("the daemon does not respond (process {}, for {})", "守护进程无响应（进程 {}，已 {}）"),
    ("the daemon had died; {}", "守护进程曾异常退出；{}"),
    ("the daemon had died, {}", "守护进程曾异常退出，{}"),
    ("the daemon hung ({}) and was ended; {}", "守护进程曾挂死（{}），已被结束；{}"),
    ("the daemon hung ({}), {}", "守护进程曾挂死（{}），{}"),
    ("it was restarted ({} of {} times within {} s)", "已重新启动（第 {} 次，上限 {} 次/{} 秒）"),
    ("it was started, and not heard of within {} s", "已重新启动，但 {} 秒内没有响应"),
    (
        "{} restarts within {} s did not help: the watchdog gives up, NO TASK RUNS until somebody acts",
        "重启 {} 次（{} 秒内）仍未恢复：看门狗已放弃，人工处理之前不会运行任何任务",
    ),
    (
        "the configuration could not be read; what is known of it goes on: {}",
        "无法读取配置，继续使用已知配置：{}",
    ),
    (
        "a record of a run could not be written to the configuration database and is kept in {}: {}",
        "一条运行记录未能写入配置库，已保存在 {}：{}",
    ),
    // Reasons.
    (
        "the run before was still under way: task {} was running",
        "上一次运行尚未结束，任务 {} 仍在运行",
    ),
    ("the run before was still under way", "上一次运行尚未结束"),
    (
        "tasks of the firing before still waited to start, task {} first",
        "上一次触发的任务仍在等待启动，排在最前的是任务 {}",
    ),
    ("the next run makes up for it", "将由下一次运行补上"),
    ("the clock was set forward over it", "系统时钟被向前调整，越过了触发时刻"),
    ("the daemon was not there in time", "守护进程当时未运行"),
    ("too many firings wait to be made up for", "等待补跑的触发过多"),
    (
        "{} task processes run, as many as may (tasks_max)",
        "已有 {} 个任务进程在运行，达到上限（tasks_max）",
    ),
    (
        "{} runs are under way on this host, as many as there can be; it starts when one of them has \
         ended (ssync status lists them)",
        "本机已有 {} 个运行，达到上限；其中一个结束后即启动（用 ssync status 查看）",
    ),
    ("worker killed ({}), no error reported", "任务进程被终止（{}），未报告错误"),
    (
        "ended after {} s without progress (phase: {}, waiting for: {}, table {})",
        "{} 秒无进展，已被结束（阶段：{}，等待：{}，表 {}）",
    ),
    (
        "it died with the daemon; what had landed is settled, and the rest is sent",
        "随守护进程一起终止；已写入的行将被核销，其余行将被发送",
    ),
    ("no password is stored for link {}", "链接 {} 没有存储密码"),
    ("{}: the environment variable {} is not set", "{}：环境变量 {} 未设置"),
    ("1 bad row, {} allowed", "错误行 1 行，允许 {} 行"),
    ("{} bad rows, {} allowed", "错误行 {} 行，允许 {} 行"),
    // Before what ends a text.
    ("task {}, table {}: {}", "任务 {}，表 {}：{}"),
    ("task {}: {}", "任务 {}：{}"),
    ("table {}: {}", "表 {}：{}"),
    ("1 row landed, {} are bad", "写入 1 行，{} 行错误"),
    ("1 row landed, 1 is bad", "写入 1 行，1 行错误"),
    ("1 row landed, others are left for the next run", "写入 1 行，其余行留待下次运行"),
    ("1 row landed", "写入 1 行"),
    ("{} rows landed, {} are bad", "写入 {} 行，{} 行错误"),
    ("{} rows landed, 1 is bad", "写入 {} 行，1 行错误"),
    ("{} rows landed, others are left for the next run", "写入 {} 行，其余行留待下次运行"),
    ("{} rows landed", "写入 {} 行"),
    // What is left of a place, or of what was not foreseen.
    ("task {}, table {}", "任务 {}，表 {}"),
    ("link {}", "链接 {}"),
    ("key {}", "密钥 {}"),
];
/// Places are looked into no deeper.
const DEPTH_MAX: usize = 4;

/// A text of an event or of a hold, as far as it is ours.
pub fn translated(text: &str) -> String {
    translate(text, DEPTH_MAX)
}

fn translate(text: &str, depth: usize) -> String {
    let found = LIST.iter().find_map(|(en, zh)| Some((places(text, en)?, *zh)));
    let Some((places, zh)) = found.filter(|_| depth > 0) else { return text.to_owned() };
    let mut out = String::new();
    let mut places = places.into_iter();
    for (n, part) in zh.split("{}").enumerate() {
        if n > 0 {
            out += &translate(places.next().unwrap_or_default(), depth - 1);
        }
        out += part;
    }
    out
}

/// What stands in the places of a pattern, if the text is of it. Each place but the last ends where the
/// words behind it begin.
fn places<'t>(text: &'t str, pattern: &str) -> Option<Vec<&'t str>> {
    let mut parts = pattern.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut places = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let end = match (part, parts.peek()) {
            ("", None) => rest.len(),
            (part, None) => rest.len().checked_sub(part.len()).filter(|_| rest.ends_with(part))?,
            (part, Some(_)) => rest.find(part)?,
        };
        places.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    let is_whole = rest.is_empty() && places.iter().all(|place| !place.is_empty());
    is_whole.then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::schedule::Why;

    #[test]
    fn the_lists_places_are_as_many_in_both_languages() {
        for (en, zh) in LIST {
            assert_eq!(en.matches("{}").count(), zh.matches("{}").count(), "{en}");
            assert!(!zh.contains("controller") && !en.contains("controller"), "{en}");
        }
    }

    #[test]
    fn what_ssync_writes_is_translated_and_what_a_database_says_is_not() {
        for (en, zh) in [
            (
                "task 7 (对账), table orders failed: could not connect to warehouse",
                "任务 7 (对账)，表 orders 失败：could not connect to warehouse",
            ),
            (
                "schedule 1: firings skipped: the run before was still under way: task 2 (bills) was running",
                "调度 1：跳过了若干次触发：上一次运行尚未结束，任务 2 (bills) 仍在运行",
            ),
            (
                "task 7: worker killed (SIGKILL), no error reported",
                "任务 7：任务进程被终止（SIGKILL），未报告错误",
            ),
            (
                "task 7 cannot be started: link shop: the environment variable PW is not set",
                "任务 7 无法启动：链接 shop：环境变量 PW 未设置",
            ),
            (
                "the daemon has died: schedules do not fire until it is started again",
                "守护进程已异常退出，重新启动之前调度不会触发",
            ),
            (
                "the task process (process 12) of task 7, table orders has died without ending its run; \
                 the next run settles what has landed and sends the rest",
                "任务进程（进程 12）意外终止：任务 7，表 orders。下次运行将核销已写入的行，并发送其余行",
            ),
            (
                "table orders: ORA-00942: table or view does not exist",
                "表 orders：ORA-00942: table or view does not exist",
            ),
            (
                "task 7, table orders has made no progress for 60 s (phase: before); 1 row landed so far",
                "任务 7，表 orders 已 60 秒无进展（阶段：before），目前已写入 1 行",
            ),
            ("task 7: 5 rows landed, 1 is bad", "任务 7：写入 5 行，1 行错误"),
            ("a database speaks of 5 rows", "a database speaks of 5 rows"),
            ("Unknown column 'x' in 'field list'", "Unknown column 'x' in 'field list'"),
            ("", ""),
        ] {
            assert_eq!(translated(en), zh);
        }
        for why in [Why::Overrun, Why::Merged, Why::ClockSet, Why::Late, Why::BacklogFull] {
            assert_ne!(translated(why.words()), why.words());
        }
    }
}
