//! What only Oracle has in a configuration.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::connector::OracleDriver;

const GOOD: &str = r#"
[[link]]
name = "core"
url = "mysql://app@db/core"

[[link]]
name = "ledger"
url = "oracle://app@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=h)(PORT=2484))(CONNECT_DATA=(SERVICE_NAME=s)))"
tls = "verified"
driver = "oci"
wallet_dir = "/etc/wallet"

[[key]]
name = "pii"
secret = { env = "PII" }

[[task]]
id = 7
source = "core"
dest = "ledger"

[[task.table]]
name = "t"
source = "t"
dest = "t"
key = ["id"]
columns = ["id", "note", "code", "mobile"]
encrypt = { mobile = "pii" }
empty_as = { note = "null", code = "space", "*" = "refuse" }
"#;

fn changed(from: &str, to: &str) -> Vec<Violation> {
    assert!(GOOD.contains(from), "{from}");
    Config::from_toml(&GOOD.replacen(from, to, 1)).err().unwrap_or_default()
}

fn assert_one(from: &str, to: &str, path: &str, message: &str) {
    let found = changed(from, to);
    let [violation] = found.as_slice() else { panic!("{from} to {to}: {found:?}") };
    assert_eq!(violation.path, path, "{violation:?}");
    assert!(violation.message.contains(message), "{violation:?}");
}

#[test]
fn links_and_empty_text_survive_their_file() {
    let config = Config::from_toml(GOOD).unwrap();
    let ledger = &config.links[1];
    assert_eq!(ledger.driver, OracleDriver::Oci);
    assert_eq!(ledger.wallet_dir.as_deref(), Some(std::path::Path::new("/etc/wallet")));
    let empty_as = &config.tasks[0].tables[0].empty_as;
    assert_eq!(empty_as["note"], EmptyAs::Null);
    assert_eq!(empty_as["code"], EmptyAs::Space);
    assert_eq!(empty_as[OTHER_COLUMNS], EmptyAs::Refuse);
    assert_eq!(Config::from_toml(&config.to_toml().unwrap()).unwrap(), config);
    // One word stands for all columns.
    let short =
        GOOD.replace("{ note = \"null\", code = \"space\", \"*\" = \"refuse\" }", "\"null\"");
    let config = Config::from_toml(&short).unwrap();
    let expected = [(OTHER_COLUMNS.to_owned(), EmptyAs::Null)].into();
    assert_eq!(config.tasks[0].tables[0].empty_as, expected);
    assert_eq!(Config::from_toml(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn what_does_not_fit_an_oracle_link_is_named() {
    let link = |key: &str| format!("link[ledger].{key}");
    let found = changed("\"verified\"", "\"off\"");
    let paths: Vec<_> = found.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(paths, [link("tls"), link("wallet_dir")]);
    assert_one("\"/etc/wallet\"", "\"wallet\"", &link("wallet_dir"), "an absolute path");
    assert_one("\"oci\"", "\"jdbc\"", &link("driver"), "known: thin, oci");
    assert_one("=tcps)", "=tcp)", &link("tls"), "what the connect descriptor says");
    let second = "(HOST=h))(ADDRESS=(PROTOCOL=tcp)(HOST=i)";
    assert_one("(HOST=h)", second, &link("tls"), "an address without PROTOCOL=tcps");
    assert_one("(HOST=h)", "(HOST=h", &link("url"), "do not match");
    assert_one("oracle://app@", "oracle://@", &link("url"), "names no user");
    let both = "wallet_dir = \"/etc/wallet\"\ntls_ca_file = \"/ca.pem\"";
    let found = changed("wallet_dir = \"/etc/wallet\"", both);
    assert!(found.iter().all(|v| v.path == link("tls_ca_file")) && !found.is_empty(), "{found:?}");
    let found = changed(
        "tls = \"verified\"\ndriver = \"oci\"\nwallet_dir = \"/etc/wallet\"",
        "tls = \"required\"",
    );
    assert!(found.iter().any(|v| v.message.contains("off or verified")), "{found:?}");
    let found = changed(
        "url = \"mysql://app@db/core\"",
        "url = \"mysql://app@db/core\"\ndriver = \"oci\"\nwallet_dir = \"/w\"",
    );
    let paths: Vec<_> = found.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(paths, ["link[core].driver", "link[core].wallet_dir"]);
}

#[test]
fn passwords_in_oracle_urls_are_refused_and_not_shown() {
    for url in [
        "oracle://app:geheim7@h:1521/s",
        "oracle://app:ge/heim7@h:1521/s",
        "oracle://app/geheim7@h/s",
        "oracle://app/geheim7@(DESCRIPTION=(X=1))",
        "oracle://app:geheim7@(DESCRIPTION=(X=1))",
        "oracle://app@(DESCRIPTION=(SECURITY=(WALLET_PASSWORD=geheim7)))",
    ] {
        let message = check_url(url).unwrap_err();
        assert!(!message.contains("heim7"), "{message}");
    }
    assert_eq!(check_url("oracle://app@h:1521/s"), Ok(()));
    assert_eq!(check_url("oracle://app@h/s"), Ok(()));
    assert!(check_url("oracle://app@h").unwrap_err().contains("names no service"));
}

#[test]
fn empty_as_is_refused_where_it_means_nothing() {
    let at = |column: &str| format!("task[7].table[t].empty_as[{column}]");
    assert_one("note = \"null\"", "note = \"nil\"", &at("note"), "known: null, space, refuse");
    assert_one("note = \"null\"", "nota = \"null\"", &at("nota"), "not among columns");
    assert_one("note = \"null\"", "mobile = \"null\"", &at("mobile"), "never empty");
    assert_one("note = \"null\"", "id = \"null\"", &at("id"), "cannot be NULL");
    let found = changed("dest = \"ledger\"", "dest = \"core\"");
    let is_it = |v: &&Violation| v.path == "task[7].table[t].empty_as";
    assert!(found.iter().find(is_it).unwrap().message.contains("an oracle:// one"), "{found:?}");
}
