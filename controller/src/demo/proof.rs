//! The demonstration's proof: what shop, warehouse and office hold, found out with nothing of
//! ssync's but its word that it is done. Plain SQL over the three files, a checksum of what it
//! gives, and a search through a file's bytes.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;
use sha2::{Digest, Sha256};
use ssync_common::error::{Error, Kind, Result};

use super::shop::{COLUMNS, Changes, SEALED, failed};
use crate::terminal::grouped;

/// Digits of a mobile number.
const MOBILE_DIGITS: u32 = 11;
/// Digits of an identity number in front of its check digit, which may be an X.
const CARD_DIGITS: u32 = 17;

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// What is claimed, for people; a few lines.
    pub text: String,
    /// Whether it is so.
    pub holds: bool,
}

/// The three databases, as files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The source.
    pub shop: PathBuf,
    /// Where the orders lie encrypted.
    pub warehouse: PathBuf,
    /// Where they were decrypted to.
    pub office: PathBuf,
    /// What the warehouse held at earlier moments.
    pub memory: PathBuf,
}

/// A moment whose ciphertexts are kept, to tell later which rows were sent again: every sending
/// gives a row another ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The first transfer has been killed.
    Killed,
    /// It has been brought to its end.
    Finished,
}

impl Moment {
    fn table(self) -> &'static str {
        match self {
            Moment::Killed => "memory.killed",
            Moment::Finished => "memory.finished",
        }
    }
}

/// Keeps what the warehouse holds now; the number of orders.
pub fn remember(files: &Files, moment: Moment) -> Result<u64> {
    let db = Connection::open(&files.warehouse).map_err(failed)?;
    attach(&db, &files.memory, "memory")?;
    let table = moment.table();
    db.execute_batch(&format!("CREATE TABLE {table} AS SELECT id, id_card FROM main.orders"))
        .map_err(failed)?;
    number(&db, &format!("SELECT COUNT(*) FROM {table}"))
}

/// Looks at everything. `rows` is what the shop had at first.
pub fn prove(files: &Files, rows: u64, changes: &Changes) -> Result<Vec<Claim>> {
    let db = Connection::open(&files.shop).map_err(failed)?;
    attach(&db, &files.warehouse, "warehouse")?;
    attach(&db, &files.office, "office")?;
    attach(&db, &files.memory, "memory")?;
    let all = rows + changes.new;
    Ok(vec![
        same_number_of_rows(&db, all)?,
        same_amounts(&db)?,
        office_equals_shop(&db)?,
        no_order_differs(&db)?,
        warehouse_equals_shop_where_plain(&db)?,
        every_value_is_sealed(&db)?,
        nothing_can_be_read(files, &db)?,
        what_had_landed_did_not_go_again(&db)?,
        only_changes_went_again(&db, rows, changes)?,
        every_row_is_done(&db, all)?,
    ])
}

fn same_number_of_rows(db: &Connection, expected: u64) -> Result<Claim> {
    let count = |from: &str| number(db, &format!("SELECT COUNT(*) FROM {from}.orders"));
    let (shop, warehouse, office) = (count("main")?, count("warehouse")?, count("office")?);
    Ok(Claim {
        text: format!(
            "Number of orders: shop {}, warehouse {}, office {}.",
            grouped(shop),
            grouped(warehouse),
            grouped(office)
        ),
        holds: [shop, warehouse, office] == [expected; 3],
    })
}

fn same_amounts(db: &Connection) -> Result<Claim> {
    // In hundredths: floating point does not add up.
    let sum = |from: &str| {
        let sql =
            format!("SELECT SUM(CAST(REPLACE(amount, '.', '') AS INTEGER)) FROM {from}.orders");
        number(db, &sql)
    };
    let money = |sum: u64| format!("{}.{:02}", grouped(sum / 100), sum % 100);
    let (shop, warehouse, office) = (sum("main")?, sum("warehouse")?, sum("office")?);
    Ok(Claim {
        text: format!(
            "Sum of all amounts: shop {},\nwarehouse {}, office {}.",
            money(shop),
            money(warehouse),
            money(office)
        ),
        holds: shop == warehouse && shop == office,
    })
}

fn office_equals_shop(db: &Connection) -> Result<Claim> {
    let (shop, office) = (checksum(db, "main", &COLUMNS)?, checksum(db, "office", &COLUMNS)?);
    Ok(Claim {
        text: format!(
            "SHA-256 over all {} columns of all orders:\nshop {}, office {}.",
            COLUMNS.len(),
            short(&shop),
            short(&office)
        ),
        holds: shop == office,
    })
}

fn no_order_differs(db: &Connection) -> Result<Claim> {
    let columns = COLUMNS.join(", ");
    let only = |a: &str, b: &str| {
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT {columns} FROM {a}.orders EXCEPT \
             SELECT {columns} FROM {b}.orders)"
        );
        number(db, &sql)
    };
    let (shop, office) = (only("main", "office")?, only("office", "main")?);
    Ok(Claim {
        text: format!(
            "Orders of the shop that the office lacks or has otherwise: {};\n\
             orders of the office that the shop lacks or has otherwise: {}.",
            grouped(shop),
            grouped(office)
        ),
        holds: shop == 0 && office == 0,
    })
}

fn warehouse_equals_shop_where_plain(db: &Connection) -> Result<Claim> {
    let plain: Vec<_> = COLUMNS.into_iter().filter(|c| !SEALED.contains(c)).collect();
    let (shop, there) = (checksum(db, "main", &plain)?, checksum(db, "warehouse", &plain)?);
    Ok(Claim {
        text: format!(
            "SHA-256 over the {} columns that are not encrypted:\nshop {}, warehouse {}.",
            plain.len(),
            short(&shop),
            short(&there)
        ),
        holds: shop == there,
    })
}

fn every_value_is_sealed(db: &Connection) -> Result<Claim> {
    let (mut values, mut different, mut as_they_were, mut nulls) = (0, 0, 0, 0);
    for column in SEALED {
        let of = |what: &str| number(db, &format!("SELECT {what} FROM warehouse.orders"));
        values += of(&format!("COUNT({column})"))?;
        different += of(&format!("COUNT(DISTINCT {column})"))?;
        let joined = "FROM main.orders s JOIN warehouse.orders w USING (id) WHERE";
        as_they_were += number(db, &format!("SELECT COUNT(*) {joined} s.{column} = w.{column}"))?;
        nulls += number(
            db,
            &format!("SELECT COUNT(*) {joined} (s.{column} IS NULL) <> (w.{column} IS NULL)"),
        )?;
    }
    Ok(Claim {
        text: format!(
            "Encrypted values in the warehouse: {}; left as they were: {};\n\
             equal to another one: {} (so equal numbers do not show).",
            grouped(values),
            grouped(as_they_were),
            grouped(values - different)
        ),
        holds: values > 0 && as_they_were == 0 && different == values && nulls == 0,
    })
}

fn nothing_can_be_read(files: &Files, db: &Connection) -> Result<Claim> {
    let numbers = Numbers::of_shop(db)?;
    let known = numbers.known();
    let there = numbers.found_in(&files.warehouse)?;
    // A search that finds nothing anywhere would prove nothing.
    let here = numbers.found_in(&files.shop)?;
    Ok(Claim {
        text: format!(
            "The shop's {} different numbers, looked for byte by byte: {} found\n\
             in warehouse.db. (The same search finds {} in shop.db.)",
            grouped(known),
            grouped(there),
            grouped(here)
        ),
        holds: there == 0 && here == known && known > 0,
    })
}

/// Orders of a moment whose ciphertext the warehouse has now, among those that `of` chooses.
fn kept(db: &Connection, moment: Moment, of: &str) -> Result<u64> {
    let table = moment.table();
    let sql = format!(
        "SELECT COUNT(*) FROM {table} t JOIN {of} w USING (id) WHERE w.id_card = t.id_card"
    );
    number(db, &sql)
}

fn what_had_landed_did_not_go_again(db: &Connection) -> Result<Claim> {
    let landed = number(db, "SELECT COUNT(*) FROM memory.killed")?;
    let kept = kept(db, Moment::Killed, Moment::Finished.table())?;
    let holds = landed == kept;
    Ok(Claim {
        text: format!(
            "Orders that had landed when the transfer was killed: {}; that still\n\
             had the same ciphertext when it was finished: {}.{}",
            grouped(landed),
            grouped(kept),
            if holds { " None went twice." } else { "" }
        ),
        holds,
    })
}

fn only_changes_went_again(db: &Connection, rows: u64, changes: &Changes) -> Result<Claim> {
    let before = number(db, "SELECT COUNT(*) FROM memory.finished")?;
    let kept = kept(db, Moment::Finished, "warehouse.orders")?;
    let holds = before == rows && before - kept == changes.changed();
    Ok(Claim {
        text: format!(
            "Orders that the second transfer wrote again: {}; that still have the\n\
             ciphertext of the first: {}.{}",
            grouped(before - kept),
            grouped(kept),
            if holds { " Only what had changed went." } else { "" }
        ),
        holds,
    })
}

fn every_row_is_done(db: &Connection, expected: u64) -> Result<Claim> {
    let done = number(db, "SELECT COUNT(*) FROM main.orders WHERE sync_status = 2")?;
    Ok(Claim {
        text: format!("Orders that the shop shows as done (sync_status = 2): {}.", grouped(done)),
        holds: done == expected,
    })
}

fn attach(db: &Connection, file: &Path, name: &str) -> Result<()> {
    let path = file.to_str().ok_or_else(|| {
        Error::new(Kind::Usage, "the directory for temporary files is not UTF-8")
            .hint("Set TMPDIR to another one.")
    })?;
    db.execute("ATTACH DATABASE ?1 AS ?2", [path, name]).map_err(failed)?;
    Ok(())
}

/// A query with one number for an answer.
pub fn number(db: &Connection, sql: &str) -> Result<u64> {
    let n: Option<i64> = db.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    Ok(n.unwrap_or(0).unsigned_abs())
}

/// SHA-256 over the rows in key order. `quote` writes a value so that type and content show.
fn checksum(db: &Connection, from: &str, columns: &[&str]) -> Result<[u8; 32]> {
    let list: Vec<_> = columns.iter().map(|c| format!("quote({c})")).collect();
    let sql = format!("SELECT {} FROM {from}.orders ORDER BY id", list.join(" || ',' || "));
    let mut statement = db.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut hash = Sha256::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let text: String = row.get(0).map_err(failed)?;
        hash.update(text.as_bytes());
        hash.update(b"\n");
    }
    Ok(hash.finalize().into())
}

/// The beginning of a checksum; the whole one is compared.
fn short(checksum: &[u8; 32]) -> String {
    checksum.iter().take(6).map(|b| format!("{b:02x}")).collect::<String>() + "…"
}

/// All identity and mobile numbers of the shop, as integers.
struct Numbers {
    cards: HashSet<u64>,
    mobiles: HashSet<u64>,
}

impl Numbers {
    fn of_shop(db: &Connection) -> Result<Self> {
        let mut numbers = Numbers { cards: HashSet::new(), mobiles: HashSet::new() };
        let mut statement =
            db.prepare("SELECT id_card, mobile FROM main.orders").map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (card, mobile): (String, Option<String>) =
                row.get(0).and_then(|card| Ok((card, row.get(1)?))).map_err(failed)?;
            let (mut search, bytes) = (Search::default(), card.as_bytes());
            bytes.iter().for_each(|b| search.take(*b));
            numbers.cards.extend(search.card);
            numbers.mobiles.extend(mobile.and_then(|m| m.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    fn known(&self) -> u64 {
        (self.cards.len() + self.mobiles.len()) as u64
    }

    /// How many of them stand in a database file, its write-ahead log included.
    fn found_in(&self, file: &Path) -> Result<u64> {
        let mut found = HashSet::new();
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        for file in [file, Path::new(&log)].into_iter().filter(|f| f.exists()) {
            let mut search = Search::default();
            let mut file = File::open(file)?;
            let mut chunk = vec![0; 1 << 20];
            loop {
                let n = file.read(&mut chunk)?;
                if n == 0 {
                    break;
                }
                for &byte in &chunk[..n] {
                    search.take(byte);
                    found.extend(search.card.filter(|c| self.cards.contains(c)));
                    found.extend(search.mobile.filter(|m| self.mobiles.contains(m)));
                }
            }
        }
        Ok(found.len() as u64)
    }
}

/// Bytes go by; `card` and `mobile` say what number, if any, has just ended.
#[derive(Default)]
struct Search {
    digits: u32,
    last: u64,
    card: Option<u64>,
    mobile: Option<u64>,
}

impl Search {
    fn take(&mut self, byte: u8) {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        let check = digit.or((byte == b'X').then_some(10));
        self.card = check.filter(|_| self.digits >= CARD_DIGITS).map(|c| self.last * 11 + c);
        match digit {
            Some(digit) => {
                self.digits += 1;
                self.last = (self.last * 10 + digit) % 10u64.pow(CARD_DIGITS);
                self.mobile =
                    (self.digits >= MOBILE_DIGITS).then(|| self.last % 10u64.pow(MOBILE_DIGITS));
            }
            None => *self = Search { card: self.card, ..Search::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::shop;
    use super::*;

    const ROWS: u64 = 1000;

    /// What a faultless transfer would leave, made by hand: each value in the warehouse is
    /// replaced by one that nobody can read. With the one fault that cannot be made afterwards:
    /// `twice` sends rows again that had landed before.
    fn transferred(twice: bool) -> (tempfile::TempDir, Files, Changes) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let files = Files {
            shop: path("shop.db"),
            warehouse: path("warehouse.db"),
            office: path("office.db"),
            memory: path("memory.db"),
        };
        let mut db = shop::create(&files.shop, true).unwrap();
        shop::create(&files.warehouse, false).unwrap();
        shop::create(&files.office, false).unwrap();
        shop::fill(&mut db, ROWS, &crossbeam_channel::never()).unwrap();
        attach(&db, &files.warehouse, "warehouse").unwrap();
        attach(&db, &files.office, "office").unwrap();
        let send = |db: &Connection, which: &str| {
            let sql = format!(
                "INSERT OR REPLACE INTO warehouse.orders SELECT id, customer, city, \
                 hex(randomblob(20)), CASE WHEN mobile IS NOT NULL THEN hex(randomblob(20)) END, \
                 amount, remark, ordered_at FROM main.orders WHERE {which}; \
                 UPDATE main.orders SET sync_status = 2 WHERE {which};"
            );
            db.execute_batch(&sql).unwrap();
        };
        send(&db, "id < 300");
        assert_eq!(remember(&files, Moment::Killed).unwrap(), 299);
        send(&db, if twice { "id > 200" } else { "sync_status = 0" });
        remember(&files, Moment::Finished).unwrap();
        let changes = shop::go_on(&mut db, ROWS).unwrap();
        send(&db, "sync_status = 0");
        db.execute_batch(&format!(
            "INSERT INTO office.orders SELECT {} FROM main.orders",
            COLUMNS.join(", ")
        ))
        .unwrap();
        (dir, files, changes)
    }

    #[test]
    fn everything_holds_after_a_faultless_transfer() {
        let (_dir, files, changes) = transferred(false);
        for claim in prove(&files, ROWS, &changes).unwrap() {
            assert!(claim.holds, "{}", claim.text);
        }
    }

    #[test]
    fn rows_that_went_twice_are_noticed() {
        let (_dir, files, changes) = transferred(true);
        let claims = prove(&files, ROWS, &changes).unwrap();
        let wrong: Vec<_> = claims.iter().filter(|c| !c.holds).collect();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].text.contains("had landed when the transfer was killed"));
    }

    #[test]
    fn every_fault_breaks_a_claim() {
        let faults = [
            ("office", "DELETE FROM orders WHERE id = 5"),
            ("warehouse", "DELETE FROM orders WHERE id = 5"),
            ("office", "UPDATE orders SET remark = '' WHERE remark IS NULL AND id < 9"),
            ("office", "UPDATE orders SET amount = amount || '0' WHERE id = 5"),
            ("office", "UPDATE orders SET id = -id WHERE id = 5"),
            ("warehouse", "UPDATE orders SET customer = customer || ' ' WHERE id = 5"),
            (
                "warehouse",
                "UPDATE orders SET mobile = (SELECT mobile FROM orders WHERE id = 1) WHERE id = 2",
            ),
            ("warehouse", "UPDATE orders SET mobile = NULL WHERE id = 2"),
            ("warehouse", "UPDATE orders SET id_card = 'x' WHERE id = 5"),
            ("shop", "UPDATE orders SET sync_status = 1 WHERE id = 5"),
        ];
        for (file, fault) in faults {
            let (dir, files, changes) = transferred(false);
            let db = Connection::open(dir.path().join(format!("{file}.db"))).unwrap();
            assert!(db.execute(fault, []).unwrap() > 0, "{fault}");
            let claims = prove(&files, ROWS, &changes).unwrap();
            assert!(claims.iter().any(|c| !c.holds), "nobody noticed: {file}: {fault}");
        }
    }

    #[test]
    fn a_number_left_readable_is_found_wherever_it_stands() {
        let (_dir, files, changes) = transferred(false);
        let (shop, there) =
            (Connection::open(&files.shop).unwrap(), Connection::open(&files.warehouse).unwrap());
        for column in SEALED {
            let value: String = shop
                .query_row(&format!("SELECT {column} FROM orders WHERE id = 7"), [], |r| r.get(0))
                .unwrap();
            there
                .execute("UPDATE orders SET remark = 'tel. 00' || ?1 || '9' WHERE id = 70", [value])
                .unwrap();
            let claims = prove(&files, ROWS, &changes).unwrap();
            let readable = claims.iter().find(|c| c.text.contains("byte by byte")).unwrap();
            assert!(!readable.holds, "{column}");
            there.execute("UPDATE orders SET remark = NULL WHERE id = 70", []).unwrap();
            there.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
    }
}
