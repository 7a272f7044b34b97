//! What the documents say is true: samples are run, links lead somewhere, lists are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{CommandFactory, Parser};
use ssync_common::config::Config;
use ssync_controller::cli::Cli;
use ssync_tests::command::{Ran, Ssync, program};
use ssync_tests::servers::{Server, mariadb, mysql56};

/// The directory that the README's example uses.
const EXAMPLE_DIR: &str = "/tmp/ssync-first";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every document of the project, seen from its root.
fn documents() -> Vec<PathBuf> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                collect(&path, found);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    assert!(found.len() > 8, "{found:?}");
    found
}

/// A fenced block: its language and its text.
struct Block {
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in document.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The first block of that language below a heading of a document.
pub fn block(path: &str, heading: &str, language: &str) -> String {
    let document = read(path);
    let (_, below) = document.split_once(heading).unwrap_or_else(|| panic!("{heading} in {path}"));
    let found = blocks(below).into_iter().find(|block| block.language == language);
    found.unwrap_or_else(|| panic!("no {language} below {heading} in {path}")).text
}

/// The document without its fenced blocks.
fn prose(document: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose += &format!("{line}\n");
        }
    }
    prose
}

/// The names under which headings can be linked to.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = prose(document);
    let headings = headings.lines().filter(|l| l.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            text.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for path in documents() {
        let text = prose(&fs::read_to_string(&path).unwrap());
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let there = file.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor));
            if !there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 20, "only {followed} links were found");
}

#[test]
fn every_configuration_in_the_documents_can_be_read() {
    let mut whole = 0;
    for path in documents() {
        for block in blocks(&fs::read_to_string(&path).unwrap()) {
            if block.language != "toml" {
                continue;
            }
            let shown = || format!("{}:\n{}", path.display(), block.text);
            let parsed: Result<toml::Table, _> = toml::from_str(&block.text);
            let table = parsed.unwrap_or_else(|e| panic!("{e}\nin {}", shown()));
            // The others are parts: a table, a key.
            if table.contains_key("link") && table.contains_key("task") {
                whole += 1;
                let read = Config::from_toml(&block.text);
                read.unwrap_or_else(|violations| panic!("{violations:?}\nin {}", shown()));
            }
        }
    }
    assert!(whole >= 2, "only {whole} whole configurations were found");
}

#[test]
fn both_readmes_show_the_same_samples() {
    let of = |path: &str| -> Vec<(String, String)> {
        let comment = |line: &str| {
            let end = ["  # ", "  -- "].iter().filter_map(|mark| line.find(mark)).min();
            line[..end.unwrap_or(line.len())].trim_end().to_owned()
        };
        blocks(&read(path))
            .into_iter()
            .filter(|b| b.language != "text")
            .map(|b| (b.language, b.text.lines().map(comment).collect::<Vec<_>>().join("\n")))
            .collect()
    };
    assert_eq!(of("README.md"), of("README.zh-CN.md"));
}

#[test]
fn the_readmes_list_every_command() {
    let program = Cli::command();
    let offered: BTreeSet<&str> =
        program.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name()).collect();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme);
        let all = blocks(&text);
        let list = all.iter().find(|b| b.text.starts_with("ssync --task TASK")).unwrap();
        let listed: BTreeSet<&str> = list
            .text
            .lines()
            .map(|l| l.strip_prefix("ssync ").unwrap().split_whitespace().next().unwrap())
            .filter(|word| *word != "--task")
            .collect();
        assert_eq!(listed, offered, "{readme}");
        for line in list.text.lines().filter(|l| l.contains('|')) {
            let mut words = line.strip_prefix("ssync ").unwrap().split_whitespace();
            let command = words.next().unwrap();
            for part in words.next().unwrap().split('|') {
                assert!(output(&[command, part, "--help"]).status.success(), "{command} {part}");
            }
        }
    }
}

/// Every command line in a document is one that the program takes, and every script that is named
/// can be started.
#[test]
fn every_command_that_the_documents_name_can_be_started() {
    let mut wrong = Vec::new();
    let (mut commands, mut scripts) = (0, BTreeSet::new());
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let in_blocks = blocks(&text);
        let lines = in_blocks.iter().flat_map(|b| b.text.lines()).map(str::to_owned);
        let inline = text.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
        for line in lines.chain(inline).filter(|line| line.starts_with("ssync ")) {
            let Some(words) = as_typed(&line) else { continue };
            commands += 1;
            if let Err(e) = Cli::try_parse_from(&words)
                && !matches!(
                    e.kind(),
                    clap::error::ErrorKind::MissingRequiredArgument
                        | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | clap::error::ErrorKind::DisplayHelp
                )
            {
                wrong.push(format!("{name}: {line}: {e}"));
            }
        }
        for (at, _) in text.match_indices("scripts/") {
            let is_path = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
            let before = text[..at].chars().next_back();
            let end = text[at..].find(|c| !is_path(c)).map_or(text.len(), |end| at + end);
            let script = text[at..end].trim_end_matches(['.', '/', '-']);
            if !before.is_some_and(is_path) && root().join(script).is_file() {
                scripts.insert(script.to_owned());
            } else if !before.is_some_and(is_path) && !root().join(script).exists() {
                wrong.push(format!("{name}: there is no {script}"));
            }
        }
    }
    for script in &scripts {
        let head = fs::read(root().join(script)).unwrap();
        let mode = fs::metadata(root().join(script)).unwrap().permissions().mode();
        if head.starts_with(b"#!") && mode & 0o111 == 0 {
            wrong.push(format!("{script} has no run bit"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(commands > 60 && scripts.len() > 8, "{commands} commands, {scripts:?}");
}

/// A line of a document as somebody would type it; `None` where it is none.
fn as_typed(line: &str) -> Option<Vec<String>> {
    let line = line.split("  ").next()?.split(" #").next()?.replace(['[', ']', '<', '>'], "");
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase()) && !word.is_empty();
    let typed = |word: &str| match word {
        word if word.contains(['…', '@']) => None,
        "N" | "TASK" => Some("7".to_owned()),
        "D" => Some("2026-12-01".to_owned()),
        word if is_name(&word) => Some("x".to_owned()),
        word => Some(word.split('|').next().unwrap_or(word).to_owned()),
    };
    line.split_whitespace().map(typed).collect()
}

fn output(args: &[&str]) -> std::process::Output {
    Command::new(program()).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn every_dependency_is_explained() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let text = read("docs/DEPENDENCIES.md");
    let missing: Vec<_> = manifest["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|name| !name.starts_with("ssync-") && !text.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/DEPENDENCIES.md: {missing:?}");
}

/// Every test file that the architecture's table of rules names is there.
#[test]
fn the_rules_name_tests_that_exist() {
    let text = read("docs/ARCHITECTURE.md");
    let section = text.split("\n## ").find(|s| s.starts_with("The rules")).unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| ---"))
        .map(|l| l.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 15, "{} rules", rows.len());
    let mut sources = BTreeMap::new();
    for part in ["common/src", "controller/src", "worker/src", "writer/src", "tests/tests"] {
        collect_sources(&root().join(part), &mut sources);
    }
    for row in &rows[1..] {
        let [rule, place, tests] = row.as_slice() else { panic!("{row:?}") };
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        for file in quoted(place) {
            let there = sources.keys().any(|path| path.contains(&format!("/{file}")));
            assert!(there, "{rule}: no file {file}");
        }
        let named = quoted(tests);
        assert!(!named.is_empty(), "{rule}: no test");
        for test in named {
            let (file, function) = test.split_once("::").expect("file::function");
            let there = sources.iter().any(|(path, text)| {
                let stem = path.trim_end_matches(".rs").trim_end_matches("/tests");
                let file = file.trim_end_matches("/tests");
                stem.ends_with(&format!("/{file}")) && text.contains(&format!("fn {function}("))
            });
            assert!(there, "{rule}: no test {test}");
        }
    }
}

fn collect_sources(dir: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            into.insert(path.display().to_string(), text);
        }
    }
}

#[test]
fn the_readmes_example_runs_on_mariadb() {
    example_runs_on(mariadb());
}

#[test]
fn the_readmes_example_runs_on_mysql() {
    example_runs_on(mysql56());
}

/// Does what the README says, word for word, but for port and directory.
fn example_runs_on(server: &'static Server) {
    let readme = read("README.md");
    let section = readme.split("\n## ").find(|s| s.contains("in five minutes\n")).unwrap();
    let of = |language: &str| -> Vec<String> {
        blocks(section).into_iter().filter(|b| b.language == language).map(|b| b.text).collect()
    };
    let (sql, toml, sh) = (of("sql"), of("toml"), of("sh"));
    let ([setup, change], [toml], [sh]) = (&sql[..], &toml[..], &sh[..]) else {
        panic!("the example has other blocks than it had");
    };
    let _clean = DropAfterwards(server);
    run_sql(server, setup);

    let dir = tempfile::Builder::new().prefix("ssync-readme-").tempdir().unwrap();
    let place = |text: &str| {
        assert!(text.contains(EXAMPLE_DIR));
        text.replace(EXAMPLE_DIR, dir.path().to_str().unwrap())
    };
    let toml = place(toml).replace(":3306/", &format!(":{}/", server.port()));
    fs::write(dir.path().join("orders.toml"), toml).unwrap();
    let bin = program().parent().unwrap().to_owned();
    let shell = |script: &str| -> Ran {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-euc", script])
            .env("PATH", format!("{}:{path}", bin.display()))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::from(output).expect(0)
    };

    let first = shell(&place(sh));
    assert!(first.stdout.contains("trial: 3 rows"), "{}", first.stdout);
    assert!(landed(&first, 3), "{}", first.stdout);
    let plain = "SELECT id, customer, amount, ordered_at FROM";
    let same = |conn: &mut mysql::Conn| {
        let read = |conn: &mut mysql::Conn, table: &str| -> Vec<mysql::Row> {
            let sql = format!("{plain} {table} ORDER BY id");
            mysql::prelude::Queryable::query(conn, sql).unwrap()
        };
        let (shop, there) = (read(conn, "shop.orders"), read(conn, "warehouse.dw_orders"));
        assert_eq!(shop.len(), 3);
        assert_eq!(format!("{shop:?}"), format!("{there:?}"));
    };
    let mut conn = server.connect();
    same(&mut conn);
    let readable: Option<u64> = mysql::prelude::Queryable::query_first(
        &mut conn,
        "SELECT COUNT(*) FROM warehouse.dw_orders WHERE mobile LIKE '%138%' AND mobile NOT LIKE 'S%'",
    )
    .unwrap();
    assert_eq!(readable, Some(0));

    run_sql(server, change);
    let environment: Vec<_> =
        sh.lines().filter(|l| l.starts_with("export ")).map(place_if_there(&dir)).collect();
    let second = shell(&format!("{}\nssync --task 1", environment.join("\n")));
    assert!(landed(&second, 1), "{}", second.stdout);
    same(&mut conn);
}

fn place_if_there(dir: &tempfile::TempDir) -> impl Fn(&str) -> String {
    let to = dir.path().to_str().unwrap().to_owned();
    move |line| line.replace(EXAMPLE_DIR, &to)
}

/// Whether the summary says that so many rows of `orders` landed and that all is well.
fn landed(ran: &Ran, rows: u64) -> bool {
    ran.stdout.lines().any(|l| {
        let words: Vec<_> = l.split_whitespace().collect();
        words.first() == Some(&"orders")
            && words.get(1) == Some(&rows.to_string().as_str())
            && words.last() == Some(&"done")
    })
}

fn run_sql(server: &Server, script: &str) {
    let mut conn = server.connect();
    for statement in script.split(";\n").filter(|s| !s.trim().is_empty()) {
        mysql::prelude::Queryable::query_drop(&mut conn, statement)
            .unwrap_or_else(|e| panic!("{e}\nin: {statement}"));
    }
}

struct DropAfterwards(&'static Server);

impl Drop for DropAfterwards {
    fn drop(&mut self) {
        run_sql(
            self.0,
            "DROP DATABASE IF EXISTS shop;\nDROP DATABASE IF EXISTS warehouse;\n\
             DROP USER ssync@'%';\n",
        );
    }
}

#[test]
fn the_demonstration_proves_itself_and_leaves_nothing() {
    let home = Ssync::new();
    let tmp = home.scratch().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let demo = |args: &[&str]| {
        let mut command = home.command(&["demo", "--rows", "20000"]);
        Ran::from(command.args(args).env("TMPDIR", &tmp).output().unwrap()).expect(0)
    };
    let ran = demo(&["--json"]);
    let said = ran.json();
    assert_eq!(said["passed"], true, "{said}");
    let claims = said["claims"].as_array().unwrap();
    assert!(claims.len() >= 10, "{said}");
    assert!(claims.iter().all(|c| c["holds"] == true), "{said}");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "something was left in {}", tmp.display());
    assert!(!home.home().exists(), "the user's own home was touched");

    let ran = demo(&["--keep"]);
    assert!(ran.stdout.contains("Everything arrived, once, unchanged."), "{}", ran.stdout);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 1);
    // The directory is longer here than elsewhere.
    for line in ran.stdout.lines().filter(|l| !l.contains("ssync-demo-")) {
        assert!(line.chars().count() <= 80, "wider than 80: {line}");
    }
}
