#![allow(clippy::unwrap_used)]
use ssync_common::config::{Config, Task};
use ssync_common::connector::{Connection, open};
use ssync_common::secret::Secret;

use super::super::{Sides, plan};
use super::*;

const TOML: &str = "
[[link]]
name = \"src\"
url = \"sqlite:///src.db\"
[[link]]
name = \"dst\"
url = \"sqlite:///dst.db\"
[[key]]
name = \"pii\"
secret = { file = \"/key\" }
[[task]]
id = 1
source = \"src\"
dest = \"dst\"
[[task.table]]
name = \"t\"
source = \"src\"
dest = \"dst\"
mode = \"full\"
encrypt = { v = \"pii\" }
";

/// Both sides, in files of their own.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { dir: tempfile::tempdir().unwrap() };
        scene
            .open("src")
            .execute("CREATE TABLE src (id INT PRIMARY KEY NOT NULL, v TEXT)", &[])
            .unwrap();
        scene.open("dst").execute("CREATE TABLE dst (id INT NOT NULL, v TEXT)", &[]).unwrap();
        scene
    }

    fn open(&self, name: &str) -> Box<dyn Connection> {
        let url = format!("sqlite://{}/{name}.db?create=true", self.dir.path().display());
        let link = crate::source::tests::link(url);
        open(&link).unwrap()
    }

    fn plan(&self, toml: &str) -> TablePlan {
        let task: Task = Config::from_toml(toml).unwrap().tasks.remove(0);
        let (mut source, mut dest) = (self.open("src"), self.open("dst"));
        let (s, d) = (
            source.describe(&task.tables[0].source).unwrap().unwrap(),
            dest.describe(&task.tables[0].dest).unwrap().unwrap(),
        );
        let sides = Sides {
            source: &s,
            source_dialect: source.dialect(),
            dest: &d,
            dest_dialect: dest.dialect(),
        };
        let planned = plan(&task, &task.tables[0], &sides);
        planned.plan.unwrap_or_else(|| panic!("{:?}", planned.findings))
    }
}

fn ring(current: u8, old: &[u8]) -> BTreeMap<String, KeyRing> {
    let secret = |seed: u8| Secret::new((seed..seed + 32).collect());
    let old: Vec<_> = old.iter().map(|n| secret(*n)).collect();
    let named = |name: &str| (name.to_owned(), KeyRing::new(name, &secret(current), &old).unwrap());
    ["pii", "personal"].map(named).into()
}

fn print(plan: &TablePlan, keys: &BTreeMap<String, KeyRing>, failover: bool) -> Fingerprint {
    let circumstances = Circumstances { keys, source_failover: failover, dest_failover: failover };
    Fingerprint::new(plan, circumstances).unwrap()
}

#[test]
fn a_run_is_known_again_by_what_decides_its_rows_and_bytes() {
    let scene = Scene::new();
    let (plan, keys) = (scene.plan(TOML), ring(1, &[]));
    let begun = print(&plan, &keys, false);
    assert!(begun.text().len() <= 128, "{}", begun.text());
    let changed = |now: &Fingerprint| now.changed_since(begun.text());
    let configured = |from: &str, to: &str| {
        assert!(TOML.contains(from), "{from}");
        changed(&print(&scene.plan(&TOML.replace(from, to)), &keys, false))
    };
    assert_eq!(changed(&begun), [""; 0]);
    // What things are called, and what is only asked of the run, decides nothing.
    assert_eq!(
        configured(
            "source = \"src\"\ndest = \"dst\"\nmode",
            "source = \"main.src\"\ndest = \"dst\"\nmode"
        ),
        [""; 0]
    );
    assert_eq!(
        configured(
            "source = \"src\"\ndest = \"dst\"\nmode",
            "source = \"src\"\ndest = \"main.dst\"\nmode"
        ),
        [""; 0]
    );
    assert_eq!(configured("name = \"t\"", "name = \"u\"\ncount = false"), [""; 0]);
    assert_eq!(configured("\"pii\"", "\"personal\""), [""; 0]);
    assert_eq!(configured("mode =", "where = \"id > 1\"\nmode ="), ["which rows are sent"]);
    assert_eq!(
        configured("mode =", "columns = [\"v\", \"id\"]\nmode ="),
        ["the columns", "the encryption keys"]
    );
    assert_eq!(configured("mode =", "full = \"swap\"\nmode ="), ["how rows are written"]);
    assert_eq!(
        configured("mode =", "after = { dest = [\"SELECT 1\"] }\nmode ="),
        ["the SQL before or after"]
    );
    assert_eq!(changed(&print(&plan, &ring(9, &[1]), false)), ["the encryption keys"]);
    // An old key that only opens is none of the run's.
    assert_eq!(changed(&print(&plan, &ring(1, &[9]), false)), [""; 0]);

    let mut elsewhere = plan.clone();
    elsewhere.source_server = "mysql another".to_owned();
    assert_eq!(changed(&print(&elsewhere, &keys, false)), ["the source's server"]);
    assert!(print(&elsewhere, &keys, false).is_of_another_source(begun.text()));
    assert_eq!(changed(&print(&elsewhere, &keys, true)), [""; 0], "a replica");
    elsewhere.source_name = "main.other".to_owned();
    assert_eq!(changed(&print(&elsewhere, &keys, true)), ["the source's table"]);
    let mut moved = plan.clone();
    moved.dest.server = "mysql another".to_owned();
    moved.dest.full_name = "main.other".to_owned();
    let both = ["the destination's server", "the destination's table"];
    assert_eq!(changed(&print(&moved, &keys, false)), both);
    assert_eq!(changed(&print(&moved, &keys, true)), both[1..]);
}

/// The text of the former version is what that version wrote: of these very tables.
#[test]
fn runs_of_the_former_version_are_known_again() {
    let scene = Scene::new();
    let toml = TOML.replace("encrypt = { v = \"pii\" }\n", "");
    let now = print(&scene.plan(&toml), &BTreeMap::new(), false);
    const WRITTEN: &str = "0f82828125f6a10636d75385950f37bf.069536d1a5c1c0f70c0b5d691e50d279";
    assert_eq!(now.changed_since(WRITTEN), [""; 0]);
    assert!(walks_alike(now.text(), WRITTEN));
    let other = toml
        .replace("mode =", "where = \"id > 1\"\nmode =")
        .replace("name = \"t\"", "name = \"t\"\ncount = false");
    let other = print(&scene.plan(&other), &BTreeMap::new(), false);
    assert_eq!(other.changed_since(WRITTEN), ["the configuration"]);
    assert!(!other.is_of_another_source(WRITTEN));
    let counted = toml.replace("name = \"t\"", "name = \"t\"\ncount = false");
    assert_eq!(
        print(&scene.plan(&counted), &BTreeMap::new(), false).changed_since(WRITTEN),
        [""; 0]
    );
}
