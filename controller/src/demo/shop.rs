//! The demonstration's source: a shop's orders, the same ones every time, and what its application
//! does to them between two transfers.

use std::path::Path;

use crossbeam_channel::Receiver;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, params};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::signals::SignalEvent;

/// Orders that are new in the second transfer.
pub const NEW_ROWS: u64 = 300;
/// The columns that are transferred, in the order of the table.
pub const COLUMNS: [&str; 8] =
    ["id", "customer", "city", "id_card", "mobile", "amount", "remark", "ordered_at"];
/// Those that are encrypted on their way to the warehouse.
pub const SEALED: [&str; 2] = ["id_card", "mobile"];

/// The tables of shop, warehouse and office: alike, but that only the shop's rows carry a state.
const COLUMN_TYPES: &str = "id INTEGER PRIMARY KEY, customer TEXT NOT NULL, city TEXT NOT NULL, \
     id_card TEXT NOT NULL, mobile TEXT, amount TEXT NOT NULL, remark TEXT, \
     ordered_at TEXT NOT NULL";

const SURNAMES: [&str; 12] =
    ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "欧阳", "司马"];
const GIVEN: [&str; 12] =
    ["伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "杰"];
/// Cities and the area codes that identity numbers of people born there begin with.
const CITIES: [(&str, u32); 8] = [
    ("北京", 110_105),
    ("上海", 310_101),
    ("广州", 440_103),
    ("深圳", 440_304),
    ("成都", 510_104),
    ("杭州", 330_106),
    ("武汉", 420_106),
    ("西安", 610_103),
];
const MOBILE_PREFIXES: [u64; 8] = [130, 135, 138, 139, 150, 158, 186, 189];
const REMARKS: [&str; 4] =
    ["", "gift, wrap it", "leave it at the gate", "it's \"urgent\"; call 1st"];
/// 1 January 2026, 08:00 in Beijing.
const FIRST_ORDER_SECS: i64 = 1_767_225_600;

/// A small random number generator (splitmix64): the demonstration's rows are the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: &[T; N]) -> T {
        from[self.roll(N as u64) as usize]
    }
}

/// What the application did between two transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Orders whose amount was corrected.
    pub amounts: u64,
    /// Orders whose mobile number was corrected.
    pub mobiles: u64,
    /// New orders.
    pub new: u64,
}

impl Changes {
    /// Rows that were there before and have changed.
    pub fn changed(&self) -> u64 {
        self.amounts + self.mobiles
    }

    /// Rows to send.
    pub fn total(&self) -> u64 {
        self.changed() + self.new
    }
}

/// Makes an empty table of orders in a file of its own; `with_status` at the source.
pub fn create(file: &Path, with_status: bool) -> Result<Connection> {
    let db = Connection::open(file).map_err(failed)?;
    let status = if with_status { ", sync_status INTEGER NOT NULL DEFAULT 0" } else { "" };
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE orders ({COLUMN_TYPES}{status})"
    ))
    .map_err(failed)?;
    Ok(db)
}

/// Fills the shop with orders 1 to `rows`.
pub fn fill(shop: &mut Connection, rows: u64, signals: &Receiver<SignalEvent>) -> Result<()> {
    let all = shop.transaction().map_err(failed)?;
    for id in 1..=rows {
        insert(&all, id)?;
        if id % 10_000 == 0 && !signals.is_empty() {
            return Err(interrupted());
        }
    }
    all.commit().map_err(failed)
}

/// A day at the shop: amounts and mobile numbers are corrected, new orders come in. As every
/// application that feeds ssync has to, it sets `sync_status` back to 0 where it changes a row.
pub fn go_on(shop: &mut Connection, rows: u64) -> Result<Changes> {
    let day = shop.transaction().map_err(failed)?;
    let amounts = day
        .execute(
            "UPDATE orders SET amount = printf('%.2f', amount + 10), sync_status = 0 \
             WHERE id % 100 = 7",
            [],
        )
        .map_err(failed)?;
    let mobiles = day
        .execute(
            "UPDATE orders SET mobile = '199' || printf('%08d', id), sync_status = 0 \
             WHERE id % 500 = 3",
            [],
        )
        .map_err(failed)?;
    for id in rows + 1..=rows + NEW_ROWS {
        insert(&day, id)?;
    }
    day.commit().map_err(failed)?;
    Ok(Changes { amounts: amounts as u64, mobiles: mobiles as u64, new: NEW_ROWS })
}

fn insert(to: &Transaction<'_>, id: u64) -> Result<()> {
    let mut dice = Dice(id);
    let customer = format!("{}{}", dice.pick(&SURNAMES), dice.pick(&GIVEN));
    let (city, area) = dice.pick(&CITIES);
    let id_card = id_card(area, &mut dice);
    // One customer in forty has not left a number.
    let mobile = (dice.roll(40) > 0)
        .then(|| (dice.pick(&MOBILE_PREFIXES) * 100_000_000 + dice.roll(100_000_000)).to_string());
    let amount = format!("{}.{:02}", 5 + dice.roll(3000), dice.roll(100));
    let remark = (dice.roll(3) == 0).then(|| dice.pick(&REMARKS));
    let ordered = Timestamp::from_second(FIRST_ORDER_SECS)
        .map(|first| first + SignedDuration::from_secs((id * 37) as i64))
        .map_err(|e| Error::new(Kind::Internal, format!("order {id}: {e}")))?;
    to.prepare_cached("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)")
        .and_then(|mut insert| {
            insert.execute(params![
                id as i64,
                customer,
                city,
                id_card,
                mobile,
                amount,
                remark,
                ordered.strftime("%Y-%m-%d %H:%M:%S").to_string()
            ])
        })
        .map_err(failed)?;
    Ok(())
}

/// An identity number with its check digit (GB 11643): area, date of birth, serial number.
fn id_card(area: u32, dice: &mut Dice) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let (year, month, day) = (1950 + dice.roll(56), 1 + dice.roll(12), 1 + dice.roll(28));
    let digits = format!("{area}{year}{month:02}{day:02}{:03}", dice.roll(1000));
    let sum: u32 = digits.bytes().zip(WEIGHTS).map(|(d, w)| u32::from(d - b'0') * w).sum();
    let check = char::from(b"10X98765432"[(sum % 11) as usize]);
    format!("{digits}{check}")
}

/// A statement of the demonstration's own failed.
pub fn failed(e: rusqlite::Error) -> Error {
    Error::new(Kind::Database, format!("the demonstration's own SQL failed: {e}"))
}

/// Ctrl-C.
pub fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted by the operator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_numbers_carry_the_check_digit_of_the_standard() {
        for seed in 0..200 {
            let card = id_card(510_104, &mut Dice(seed));
            assert_eq!(card.len(), 18);
            // The standard's own test: the weighted sum of all eighteen is 1 modulo 11.
            let sum: u32 = card
                .chars()
                .enumerate()
                .map(|(i, c)| c.to_digit(10).unwrap_or(10) * (2u32.pow(17 - i as u32) % 11))
                .sum();
            assert_eq!(sum % 11, 1, "{card}");
        }
    }
}
