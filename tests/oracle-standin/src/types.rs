//! Oracle's types: how they are described, and how values pass between the wire and PostgreSQL.

use crate::backend::Column;
use crate::datetime::{self, Shape};
use crate::number;
use crate::ora_error::OraError;

pub(crate) const VARCHAR: u8 = 1;
pub(crate) const NUMBER: u8 = 2;
pub(crate) const BINARY_INTEGER: u8 = 3;
pub(crate) const LONG: u8 = 8;
pub(crate) const ROWID: u8 = 11;
pub(crate) const DATE: u8 = 12;
pub(crate) const RAW: u8 = 23;
pub(crate) const LONG_RAW: u8 = 24;
pub(crate) const CHAR: u8 = 96;
pub(crate) const BINARY_FLOAT: u8 = 100;
pub(crate) const BINARY_DOUBLE: u8 = 101;
pub(crate) const CLOB: u8 = 112;
pub(crate) const BLOB: u8 = 113;
pub(crate) const TIMESTAMP: u8 = 180;
pub(crate) const TIMESTAMP_TZ: u8 = 181;
pub(crate) const INTERVAL_YM: u8 = 182;
pub(crate) const INTERVAL_DS: u8 = 183;
pub(crate) const TIMESTAMP_LTZ: u8 = 231;
pub(crate) const BOOLEAN: u8 = 252;

/// The character set form of NCHAR, NVARCHAR2 and NCLOB: UTF-16 on the wire.
pub(crate) const NATIONAL: u8 = 2;

/// A column or a bind variable as the protocol describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OraType {
    pub(crate) number: u8,
    pub(crate) form: u8,
    pub(crate) precision: i8,
    pub(crate) scale: i8,
    /// Bytes that a value may take.
    pub(crate) bytes: u32,
    /// Characters that a value may have, zero where that means nothing.
    pub(crate) characters: u32,
    pub(crate) nullable: bool,
}

impl OraType {
    pub(crate) fn new(number: u8, bytes: u32) -> Self {
        let form = u8::from(matches!(number, VARCHAR | CHAR | CLOB | LONG));
        let characters = if matches!(number, VARCHAR | CHAR) { bytes } else { 0 };
        OraType { number, form, precision: 0, scale: 0, bytes, characters, nullable: true }
    }

    fn national(mut self) -> Self {
        self.form = NATIONAL;
        self
    }

    fn with(mut self, precision: i8, scale: i8) -> Self {
        self.precision = precision;
        self.scale = scale;
        self
    }

    /// A LOB that travels as a locator.
    pub(crate) fn is_lob(&self) -> bool {
        matches!(self.number, CLOB | BLOB)
    }

    /// What a column's comment declares: `ora:TYPE|bytes|precision|scale|unit|characters`.
    pub(crate) fn declared(comment: &str) -> Option<Self> {
        let mut parts = comment.strip_prefix("ora:")?.lines().next()?.split('|');
        let name = parts.next()?;
        let mut next = || parts.next().unwrap_or("").parse::<i32>().ok();
        let (bytes, precision, scale) = (next(), next(), next());
        let unit = parts.next().unwrap_or("");
        let characters = parts.next().and_then(|n| n.parse::<u32>().ok());
        let bytes = bytes.unwrap_or(0) as u32;
        let small = |value: Option<i32>, missing: i8| value.map_or(missing, |v| v as i8);
        let text = |number| {
            let mut found = OraType::new(number, bytes);
            found.characters = if unit == "C" { characters.unwrap_or(bytes) } else { bytes };
            found
        };
        Some(match name {
            "VARCHAR2" => text(VARCHAR),
            "CHAR" => text(CHAR),
            "NVARCHAR2" => text(VARCHAR).national(),
            "NCHAR" => text(CHAR).national(),
            "NUMBER" => match (precision, scale) {
                (None, None) => OraType::new(NUMBER, 22).with(0, -127),
                _ => OraType::new(NUMBER, 22).with(small(precision, 38), small(scale, 0)),
            },
            "FLOAT" => OraType::new(NUMBER, 22).with(small(precision, 126), -127),
            "BINARY_FLOAT" => OraType::new(BINARY_FLOAT, 4),
            "BINARY_DOUBLE" => OraType::new(BINARY_DOUBLE, 8),
            "DATE" => OraType::new(DATE, 7),
            "TIMESTAMP" => OraType::new(TIMESTAMP, 11).with(0, small(scale, 6)),
            "TIMESTAMP WITH TIME ZONE" => OraType::new(TIMESTAMP_TZ, 13).with(0, small(scale, 6)),
            "TIMESTAMP WITH LOCAL TIME ZONE" => {
                OraType::new(TIMESTAMP_LTZ, 11).with(0, small(scale, 6))
            }
            "INTERVAL YEAR TO MONTH" => OraType::new(INTERVAL_YM, 5).with(small(precision, 2), 0),
            "INTERVAL DAY TO SECOND" => {
                OraType::new(INTERVAL_DS, 11).with(small(precision, 2), small(scale, 6))
            }
            "RAW" => OraType::new(RAW, bytes),
            "LONG" => OraType::new(LONG, 0),
            "LONG RAW" => OraType::new(LONG_RAW, 0),
            "CLOB" => OraType::new(CLOB, 4000),
            "NCLOB" => OraType::new(CLOB, 4000).national(),
            "BLOB" => OraType::new(BLOB, 4000),
            "ROWID" | "UROWID" => OraType::new(ROWID, 18),
            // JSON and XMLTYPE have forms of their own on the wire: here they only go as text.
            "BOOLEAN" => OraType::new(BOOLEAN, 4),
            _ => return None,
        })
    }

    /// What an expression of a PostgreSQL type is to Oracle.
    pub(crate) fn of_expression(column: &Column, own: &OwnTypes) -> Self {
        let modifier = column.modifier;
        match column.kind {
            16 => OraType::new(BOOLEAN, 4),
            17 => OraType::new(RAW, 2000),
            20 | 21 | 23 | 26 => OraType::new(NUMBER, 22).with(0, -127),
            700 => OraType::new(BINARY_FLOAT, 4),
            701 => OraType::new(BINARY_DOUBLE, 8),
            1042 if modifier > 4 => OraType::new(CHAR, (modifier - 4) as u32),
            1082 => OraType::new(DATE, 7),
            1114 => OraType::new(TIMESTAMP, 11).with(0, timestamp_scale(modifier)),
            1184 => OraType::new(TIMESTAMP_LTZ, 11).with(0, timestamp_scale(modifier)),
            1186 if modifier >= 0 && (modifier >> 16) & 0x7fff == 0x6 => {
                OraType::new(INTERVAL_YM, 5).with(9, 0)
            }
            1186 => OraType::new(INTERVAL_DS, 11).with(9, 6),
            1700 if modifier >= 4 => {
                let (precision, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0x7ff);
                OraType::new(NUMBER, 22).with(precision as i8, ((scale ^ 1024) - 1024) as i8)
            }
            1700 => OraType::new(NUMBER, 22).with(0, -127),
            kind if kind == own.date => OraType::new(DATE, 7),
            kind if kind == own.clob => OraType::new(CLOB, 4000),
            kind if kind == own.nclob => OraType::new(CLOB, 4000).national(),
            kind if kind == own.blob => OraType::new(BLOB, 4000),
            kind if kind == own.stamp => OraType::new(TIMESTAMP, 11).with(0, 9),
            kind if kind == own.zoned => {
                let scale = if modifier > 0 { (modifier - 1) as i8 } else { 9 };
                OraType::new(TIMESTAMP_TZ, 13).with(0, scale)
            }
            kind if kind == own.span => OraType::new(INTERVAL_DS, 11).with(9, 9),
            kind if kind == own.months => OraType::new(INTERVAL_YM, 5).with(9, 0),
            1043 if modifier > 4 => OraType::new(VARCHAR, (modifier - 4) as u32),
            kind if kind == own.rowid => OraType::new(ROWID, 18),
            _ => OraType::new(VARCHAR, 4000),
        }
    }

    /// The PostgreSQL type that a bind of this type is declared as; zero lets the server find out.
    pub(crate) fn parameter(&self, own: &OwnTypes) -> u32 {
        match self.number {
            NUMBER | BINARY_INTEGER => 1700,
            BINARY_FLOAT => 700,
            BINARY_DOUBLE => 701,
            DATE => own.date,
            TIMESTAMP => own.stamp,
            TIMESTAMP_TZ => own.zoned,
            TIMESTAMP_LTZ => 1184,
            INTERVAL_YM => own.months,
            INTERVAL_DS => own.span,
            RAW | LONG_RAW => 17,
            BOOLEAN => 16,
            BLOB => own.blob,
            _ => 0,
        }
    }

    /// The bytes of a bind as text for PostgreSQL. Nothing is NULL, as everywhere in Oracle.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, OraError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let text = match self.number {
            NUMBER | BINARY_INTEGER => match bytes {
                [0x00] => return Err(OraError::new(1426, "numeric overflow")),
                _ => number::decode(bytes),
            },
            BINARY_FLOAT => float_bytes(bytes).map(|b| float_text(f32::from_be_bytes(b).into())),
            BINARY_DOUBLE => float_bytes(bytes).map(|b| float_text(f64::from_be_bytes(b))),
            TIMESTAMP => datetime::decode_fine(bytes),
            TIMESTAMP_TZ => datetime::decode_zoned(bytes),
            DATE | TIMESTAMP_LTZ => datetime::decode(bytes),
            INTERVAL_YM => datetime::decode_months(bytes),
            INTERVAL_DS => datetime::decode_span(bytes).map(|nanos| nanos.to_string()),
            BOOLEAN => Some(if bytes.last() == Some(&1) { "t" } else { "f" }.to_owned()),
            RAW | LONG_RAW | BLOB => Some(hex_text(bytes)),
            _ if self.form == NATIONAL => Some(utf16_text(bytes)),
            _ => String::from_utf8(bytes.to_vec()).ok(),
        };
        match text {
            Some(text) => Ok(Some(text.into_bytes())),
            None => Err(OraError::new(1460, "unimplemented or unreasonable conversion requested")),
        }
    }

    /// A value that PostgreSQL printed as bytes for the wire.
    pub(crate) fn write(&self, value: &[u8]) -> Result<Vec<u8>, OraError> {
        let text = String::from_utf8_lossy(value);
        let bytes = match self.number {
            NUMBER => number::encode(&text),
            BINARY_FLOAT => text.parse::<f32>().ok().map(|v| ordered(v.to_be_bytes().to_vec())),
            BINARY_DOUBLE => text.parse::<f64>().ok().map(|v| ordered(v.to_be_bytes().to_vec())),
            DATE => datetime::encode(&text, Shape::Date),
            TIMESTAMP | TIMESTAMP_LTZ => datetime::encode(&text, Shape::Timestamp),
            TIMESTAMP_TZ => datetime::encode(&text, Shape::Zoned),
            INTERVAL_YM => datetime::encode_months(&text),
            INTERVAL_DS => match text.parse() {
                Ok(nanos) => datetime::encode_span(nanos),
                Err(_) => datetime::encode_days(&text),
            },
            BOOLEAN => Some(vec![u8::from(text == "t")]),
            RAW | LONG_RAW | BLOB => unhex_text(value),
            _ if self.form == NATIONAL || self.number == CLOB => {
                Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect())
            }
            _ => Some(value.to_vec()),
        };
        bytes.ok_or_else(|| match self.number {
            NUMBER => OraError::new(1426, "numeric overflow"),
            _ => OraError::new(1460, "unimplemented or unreasonable conversion requested"),
        })
    }
}

/// The types that the stand-in adds to PostgreSQL.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnTypes {
    pub(crate) date: u32,
    pub(crate) clob: u32,
    pub(crate) nclob: u32,
    pub(crate) blob: u32,
    pub(crate) rowid: u32,
    pub(crate) stamp: u32,
    pub(crate) months: u32,
    pub(crate) zoned: u32,
    pub(crate) span: u32,
}

fn timestamp_scale(modifier: i32) -> i8 {
    if modifier < 0 { 6 } else { modifier as i8 }
}

/// IEEE bytes turned so that they sort, as Oracle sends them.
fn ordered(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] & 0x80 == 0 {
        bytes[0] |= 0x80;
    } else {
        bytes.iter_mut().for_each(|b| *b = !*b);
    }
    bytes
}

fn float_bytes<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = bytes.try_into().ok()?;
    if bytes[0] & 0x80 != 0 {
        bytes[0] &= 0x7f;
    } else {
        bytes.iter_mut().for_each(|b| *b = !*b);
    }
    Some(bytes)
}

fn float_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    format!("{value:e}")
}

fn utf16_text(bytes: &[u8]) -> String {
    let units: Vec<u16> =
        bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[c.len() - 1]])).collect();
    String::from_utf16_lossy(&units)
}

pub(crate) fn hex_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 2);
    text.push_str("\\x");
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    text
}

pub(crate) fn unhex_text(text: &[u8]) -> Option<Vec<u8>> {
    // By table: large values take most of the stand-in's time where it is built without optimisation.
    const NONE: u8 = 16;
    const HALVES: [u8; 256] = {
        let mut halves = [NONE; 256];
        let mut i = 0;
        while i < 16 {
            halves[b"0123456789abcdef"[i] as usize] = i as u8;
            halves[b"0123456789ABCDEF"[i] as usize] = i as u8;
            i += 1;
        }
        halves
    };
    let digits = text.strip_prefix(b"\\x")?;
    if digits.len() % 2 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut i = 0;
    while i < digits.len() {
        let (high, low) = (HALVES[digits[i] as usize], HALVES[digits[i + 1] as usize]);
        if high == NONE || low == NONE {
            return None;
        }
        bytes.push(high << 4 | low);
        i += 2;
    }
    Some(bytes)
}
