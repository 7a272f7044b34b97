//! Where results go: JSON for machines, sections of `docs/BENCHMARKS.md` for people.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::Machine;
use super::rounds::Outcome;

/// Version of the JSON.
const JSON_SCHEMA: u32 = 1;
const MB: f64 = 1e6;

/// Writes results of one subcommand.
pub struct Report {
    /// The subcommand; names files and sections.
    pub name: &'static str,
    /// What was typed.
    pub command: String,
    /// What it ran on.
    pub machine: Machine,
    /// Directory for JSON.
    pub json_dir: PathBuf,
    /// The document, unless the run is only for looking at.
    pub document: Option<PathBuf>,
}

impl Report {
    /// Writes the JSON, and replaces the document's section of this name: between its markers.
    /// `plots` are SVG files by name that the section refers to.
    pub fn write(&self, results: Value, title: &str, body: &str, plots: &[(String, String)]) {
        let record = json!({
            "schema": JSON_SCHEMA,
            "benchmark": self.name,
            "command": self.command,
            "machine": self.machine.json(),
            "results": results,
        });
        fs::create_dir_all(&self.json_dir).unwrap();
        let path = self.json_dir.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_string_pretty(&record).unwrap()).unwrap();
        eprintln!("wrote {}", path.display());
        let images: String =
            plots.iter().map(|(file, _)| format!("\n![{title}](bench/{file})\n")).collect();
        let section = format!(
            "## {title}\n\n```sh\n{}\n```\n\n{}\n{body}{images}",
            self.command,
            self.machine.markdown()
        );
        println!("{section}");
        if let Some(document) = &self.document {
            let dir = document.with_file_name("bench");
            fs::create_dir_all(&dir).unwrap();
            for (file, svg) in plots {
                fs::write(dir.join(file), svg).unwrap();
            }
            replace_section(document, self.name, &section);
        }
    }
}

fn replace_section(document: &Path, name: &str, section: &str) {
    let (begin, end) =
        (format!("<!-- {name}: made by scripts/bench -->"), format!("<!-- {name}: end -->"));
    let text = fs::read_to_string(document).unwrap();
    let put = format!("{begin}\n{section}\n{end}");
    let text = match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) => format!("{}{put}{}", &text[..from], &text[to + end.len()..]),
        _ => format!("{}\n\n{put}\n", text.trim_end()),
    };
    fs::write(document, text).unwrap();
}

/// Time, throughput, processor time and memory of each contender.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut out = String::from(
        "| | seconds, median (min–max) | rows/s | MB/s | CPU s: clients | source | destination | \
         memory, peak of sum |\n|---|---|---|---|---|---|---|---|\n",
    );
    for o in outcomes {
        let name = cell(&o.name);
        if let Some(message) = &o.failure {
            let _ = writeln!(out, "| {name} | failed: {} | | | | | | |", cell(&tail(message)));
            continue;
        }
        let wall = o.wall();
        let median = |figure: fn(&super::contender::Run) -> f64| o.series(figure).median();
        let _ = writeln!(
            out,
            "| {name} | **{:.2}** ({:.2}–{:.2}) | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} MB |",
            wall.median(),
            wall.min(),
            wall.max(),
            thousands(o.rows as f64 / wall.median()),
            o.bytes as f64 / wall.median() / MB,
            median(|r| r.client_cpu_secs),
            median(|r| r.source_cpu_secs),
            median(|r| r.dest_cpu_secs),
            o.pss_sum_peak_bytes() as f64 / MB,
        );
    }
    out
}

/// Text as it stands in one cell of a Markdown table.
pub fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The end of a long message: what a program says last is why it gave up.
fn tail(message: &str) -> String {
    const CHARS_MAX: usize = 300;
    match message.char_indices().rev().nth(CHARS_MAX - 1) {
        Some((from, _)) if from > 0 => format!("… {}", &message[from..]),
        _ => message.to_owned(),
    }
}

/// Each process of a contender.
pub fn processes(outcome: &Outcome) -> String {
    let mut out = format!(
        "{}:\n\n| process | CPU s | peak PSS | peak RSS, shared memory in full |\n|---|---|---|---|\n",
        outcome.name
    );
    for p in outcome.processes() {
        let _ = writeln!(
            out,
            "| {} | {:.2} | {:.1} MB | {:.1} MB |",
            p.name,
            p.cpu_secs,
            p.pss_peak_bytes as f64 / MB,
            p.rss_peak_bytes as f64 / MB
        );
    }
    out
}

/// `1,234,567`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_its_neighbours_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("B.md");
        fs::write(&path, "# Title\n\nBy hand.\n").unwrap();
        replace_section(&path, "a", "one");
        replace_section(&path, "b", "two");
        replace_section(&path, "a", "three");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Title\n\nBy hand.\n"));
        assert!(!text.contains("one") && text.contains("two") && text.contains("three"));
        assert_eq!(text.matches("<!-- a: made").count(), 1);
    }

    #[test]
    fn a_long_message_keeps_its_end_and_fits_a_cell() {
        assert_eq!(cell(&tail("a | b\nc")), "a \\| b c");
        let long = tail(&format!("{}why", "é".repeat(400)));
        assert!(long.starts_with("… é") && long.ends_with("éwhy") && long.chars().count() == 302);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
