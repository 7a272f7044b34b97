//! What a figure was measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Hardware and versions.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Facts as (name, value), in the order to show them.
    pub facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// This machine, and the versions of what is compared.
    pub fn look(ssync: &Path) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|l| l.starts_with(name));
            line.and_then(|l| l.split_once(": ")).map_or("unknown", |(_, v)| v).to_owned()
        };
        let cores = cpuinfo.lines().filter(|l| l.starts_with("processor")).count();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let kb: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
        let commit = said("git", &["describe", "--always", "--dirty=+changes"]);
        Machine {
            facts: vec![
                (
                    "Processor",
                    format!("{cores} × {}, {} MHz", field("model name"), field("cpu MHz")),
                ),
                ("Memory", format!("{:.1} GiB", kb / (1 << 20) as f64)),
                ("Kernel", said("uname", &["-sr"])),
                ("Servers", said("mariadbd", &["--version"])),
                (
                    "ssync",
                    format!("{}, commit {commit}", said(ssync.to_str().unwrap(), &["--version"])),
                ),
                ("Compiler", said("rustc", &["--version"])),
                ("Date", said("date", &["-u", "+%Y-%m-%d"])),
            ],
        }
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        self.facts
            .iter()
            .map(|(k, v)| (k.to_ascii_lowercase(), json!(v)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// As a Markdown list.
    pub fn markdown(&self) -> String {
        self.facts.iter().map(|(k, v)| format!("- {k}: {v}\n")).collect()
    }
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    // A path in front of the version is nobody's business.
    let text = text.trim();
    text.rsplit_once("/mariadbd").map_or(text, |(_, rest)| rest).trim().to_owned()
}
