//! LOBs as they are read: which part of a select list each takes, and how its value comes in pieces.
//!
//! Before 23ai the thin driver parses an answer anew with each packet of it, so that the time for an
//! answer grows with the square of its size, on every version it holds an answer several times in
//! memory. So no answer may be large: a short LOB comes with its row, as an ordinary value, and a
//! longer one by its locator, a bounded piece in each round trip.

use std::io::{ErrorKind as IoKind, Read};

use oracledb::Lob;

use super::super::Dialect;
use super::dialect::OracleDialect;
use super::driver::{Failure, Field, State};
use super::errors;
use crate::schema::Column;

/// Characters of a CLOB that fit a VARCHAR2 of 4,000 bytes, whatever they are.
const SHORT_CHARS: u64 = 1000;
/// Bytes of a BLOB that fit a RAW.
const SHORT_BYTES: u64 = 2000;
/// What is read of a BLOB in one round trip.
const PIECE_BYTES: usize = 128 << 10;
/// What is read of a CLOB in one round trip: units of UTF-16, each two bytes on the wire, and at
/// most three of UTF-8.
const PIECE_UNITS: usize = 64 << 10;
const UTF8_PER_UNIT: usize = 3;
/// Memory for a LOB that is kept for the next one.
const KEPT_BYTES: usize = 1 << 20;

/// Whether the value comes by a locator, and how much of it comes with the row.
fn short(column: &Column) -> Option<u64> {
    match column.family.as_str() {
        "clob" | "nclob" => Some(SHORT_CHARS),
        "blob" => Some(SHORT_BYTES),
        _ => None,
    }
}

/// The query with three expressions for each LOB: its length, its value where it is short, its
/// locator where it is longer. `None` where no column is such a LOB, or the query does not begin
/// with the columns as the dialect selects them.
pub(super) fn parted(dialect: &OracleDialect, sql: &str, columns: &[Column]) -> Option<String> {
    if !columns.iter().any(|c| short(c).is_some()) {
        return None;
    }
    let plain: Vec<String> = columns.iter().map(|c| dialect.select(c)).collect();
    let rest = sql.strip_prefix("SELECT ")?.strip_prefix(plain.join(", ").as_str())?;
    if !rest.starts_with(" FROM ") {
        return None;
    }
    let parts: Vec<String> = columns
        .iter()
        .zip(plain)
        .enumerate()
        .map(|(i, (column, plain))| match short(column) {
            None => plain,
            Some(most) => {
                let name = dialect.quote(&column.name);
                let length = format!("DBMS_LOB.GETLENGTH({name})");
                // Row limits make a view of the query, whose columns must have names.
                format!(
                    "{length} SSYNC_N{i}, \
                     CASE WHEN {length} BETWEEN 1 AND {most} \
                     THEN DBMS_LOB.SUBSTR({name}, {most}, 1) END SSYNC_S{i}, \
                     CASE WHEN {length} > {most} THEN {name} END SSYNC_L{i}"
                )
            }
        })
        .collect();
    Some(format!("SELECT {}{rest}", parts.join(", ")))
}

/// How many columns of a parted query this one is.
pub(super) fn parts(column: &Column) -> usize {
    if short(column).is_some() { 3 } else { 1 }
}

/// The value of a LOB from its three parts, checked against its length.
pub(super) fn joined<'f>(column: &Column, parts: &[Field<'f>]) -> Field<'f> {
    const OTHER: Field<'_> = Field::Unreadable("the server sent another value than it announced");
    let is_text = column.family != "blob";
    let [length, short, located] = parts else { return OTHER };
    let length: u64 = match length {
        Field::Null => {
            let nothing = matches!((short, located), (Field::Null, Field::Null));
            return if nothing { Field::Null } else { OTHER };
        }
        Field::Number(text) => match text.parse() {
            Ok(length) => length,
            Err(_) => return OTHER,
        },
        _ => return OTHER,
    };
    let value = match (short, located) {
        (Field::Null, Field::Null) if length == 0 && is_text => Field::Text(""),
        (Field::Null, Field::Null) if length == 0 => Field::Bytes(b""),
        (value, Field::Null) | (Field::Null, value) => *value,
        _ => return OTHER,
    };
    match value {
        Field::Unreadable(_) => value,
        Field::Text(text) if is_text && has_length(text, length) => value,
        Field::Bytes(bytes) if !is_text && bytes.len() as u64 == length => value,
        _ => OTHER,
    }
}

/// Whether a text is as long as the server says: in units of UTF-16 where the database's character
/// set is of several bytes, else in characters.
fn has_length(text: &str, length: u64) -> bool {
    text.encode_utf16().count() as u64 == length || text.chars().count() as u64 == length
}

/// The content of one LOB.
#[derive(Default)]
pub(super) struct Content {
    /// UTF-8 of characters.
    bytes: Vec<u8>,
    is_null: bool,
    /// Why it could not be read, the connection being in order.
    pub(super) unreadable: Option<&'static str>,
}

impl Content {
    /// NULL.
    pub(super) fn clear(&mut self) {
        match self.bytes.capacity() > KEPT_BYTES {
            true => self.bytes = Vec::new(),
            false => self.bytes.clear(),
        }
        (self.is_null, self.unreadable) = (true, None);
    }

    /// Reads all of a LOB.
    pub(super) fn read(&mut self, mut lob: Lob, characters: bool) -> Result<(), Failure> {
        const CUT: &str = "the server sent another length of the value than it announced";
        const NO_TEXT: &str = "the value is not valid text";
        self.is_null = false;
        let size = lob.get_size().map_err(|e| failure(&e.to_string()))?;
        let (piece, per_unit) =
            if characters { (PIECE_UNITS, UTF8_PER_UNIT) } else { (PIECE_BYTES, 1) };
        let (mut done, mut units) = (0, piece.min(size));
        while done < size {
            let start = self.bytes.len();
            self.bytes.resize(start + units * per_unit, 0);
            match lob.read(&mut self.bytes[start..]) {
                Ok(n) => {
                    self.bytes.truncate(start + n);
                    let came = match (characters, std::str::from_utf8(&self.bytes[start..])) {
                        (false, _) => n,
                        (true, Ok(text)) => text.encode_utf16().count(),
                        (true, Err(_)) => 0,
                    };
                    if came == 0 || came > size - done {
                        self.unreadable = Some(CUT);
                        return Ok(());
                    }
                    done += came;
                    units = piece.min(size - done);
                }
                // The piece may have ended between the two units of one character.
                Err(e) if e.kind() == IoKind::InvalidData && units > 1 => {
                    self.bytes.truncate(start);
                    units -= 1;
                    if units + 1 < piece.min(size - done) {
                        self.unreadable = Some(NO_TEXT);
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == IoKind::InvalidData => {
                    self.unreadable = Some(NO_TEXT);
                    return Ok(());
                }
                Err(e) => return Err(failure(&e.to_string())),
            }
        }
        Ok(())
    }

    /// The value.
    pub(super) fn field(&self, characters: bool) -> Field<'_> {
        match (self.unreadable, self.is_null, characters) {
            (Some(why), ..) => Field::Unreadable(why),
            (None, true, _) => Field::Null,
            (None, false, false) => Field::Bytes(&self.bytes),
            (None, false, true) => match std::str::from_utf8(&self.bytes) {
                Ok(text) => Field::Text(text),
                Err(_) => Field::Unreadable("the value is not valid text"),
            },
        }
    }
}

/// The driver's words for a call on a LOB that failed: it gives nothing else.
fn failure(message: &str) -> Failure {
    const TIMED_OUT: &str = "call timeout was exceeded";
    let told = |code, state| Failure { code, message: message.to_owned(), state };
    match errors::code_in(message) {
        Some(code) => told(code, State::Answered),
        None if message.contains(TIMED_OUT) => told(0, State::TimedOut),
        None => told(0, State::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::ORACLE;
    use super::*;
    use crate::schema::Kind;

    fn columns() -> [Column; 3] {
        [
            Column::new("ID", Kind::Int, "number"),
            Column::new("C", Kind::Text, "clob"),
            Column::new("B", Kind::Bytes, "blob"),
        ]
        .map(|c| Column { family: c.declared.clone(), ..c })
    }

    fn list(columns: &[Column]) -> String {
        columns.iter().map(|c| ORACLE.select(c)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_query_is_parted_where_it_selects_lobs_as_the_dialect_does() {
        let columns = columns();
        let list = list(&columns);
        let parted = |sql: &str| parted(&ORACLE, sql, &columns);
        let sql = parted(&format!("SELECT {list} FROM \"T\" ORDER BY \"ID\"")).unwrap();
        assert!(sql.starts_with("SELECT \"ID\", DBMS_LOB.GETLENGTH(\"C\") SSYNC_N1, "), "{sql}");
        assert!(sql.contains("DBMS_LOB.SUBSTR(\"B\", 2000, 1) END SSYNC_S2, "), "{sql}");
        assert!(sql.ends_with(" END SSYNC_L2 FROM \"T\" ORDER BY \"ID\""), "{sql}");
        assert_eq!(parted(&format!("SELECT * FROM (SELECT {list} FROM \"T\")")), None);
        assert_eq!(parted(&format!("SELECT {list}, 1 FROM \"T\"")), None);
        assert_eq!(super::parted(&ORACLE, "SELECT \"ID\" FROM \"T\"", &columns[..1]), None);
        assert_eq!(columns.each_ref().map(parts), [1, 3, 3]);
    }

    #[test]
    fn a_value_that_is_not_as_long_as_announced_is_not_taken() {
        let [_, clob, blob] = columns();
        let number = Field::Number;
        for (column, parts, good) in [
            (&clob, [Field::Null, Field::Null, Field::Null], Some(Field::Null)),
            (&clob, [number("0"), Field::Null, Field::Null], Some(Field::Text(""))),
            (&blob, [number("0"), Field::Null, Field::Null], Some(Field::Bytes(b""))),
            (&clob, [number("3"), Field::Text("a😀"), Field::Null], Some(Field::Text("a😀"))),
            (&clob, [number("2"), Field::Text("a😀"), Field::Null], Some(Field::Text("a😀"))),
            (&blob, [number("2"), Field::Null, Field::Bytes(b"ab")], Some(Field::Bytes(b"ab"))),
            // What the driver makes of a locator that it takes for a repeated one.
            (&blob, [number("3000"), Field::Null, Field::Null], None),
            (&blob, [number("3"), Field::Null, Field::Bytes(b"ab")], None),
            (&clob, [number("4"), Field::Text("a😀"), Field::Null], None),
            (&clob, [number("1"), Field::Text("a"), Field::Text("a")], None),
            (&clob, [Field::Null, Field::Text("a"), Field::Null], None),
            (&blob, [number("1"), Field::Text("a"), Field::Null], None),
        ] {
            let found = joined(column, &parts);
            match good {
                Some(good) => assert_eq!(found, good, "{parts:?}"),
                None => assert!(matches!(found, Field::Unreadable(_)), "{parts:?}"),
            }
        }
    }

    #[test]
    fn failures_of_calls_on_lobs_are_told_apart_by_their_words() {
        for (message, code, state) in [
            ("ORA-01555: snapshot too old", 1555, State::Answered),
            ("the configured call timeout was exceeded", 0, State::TimedOut),
            ("the database or network closed the connection", 0, State::Broken),
        ] {
            let f = failure(message);
            assert_eq!((f.code, f.state), (code, state), "{message}");
        }
    }
}
