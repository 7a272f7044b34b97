//! Character sets of MySQL and Oracle, as far as fidelity needs them. MySQL's names are lower
//! case, Oracle's upper case.

/// Which characters a character set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repertoire {
    /// Every Unicode character.
    Unicode,
    /// The Basic Multilingual Plane (`utf8`, `ucs2`).
    Bmp,
    /// ASCII alone.
    Ascii,
    /// Some of the Basic Multilingual Plane, ASCII among it.
    Some,
}

/// The repertoire of a character set; absent: a database that has Unicode alone.
pub fn repertoire(charset: Option<&str>) -> Repertoire {
    match charset {
        None
        | Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030")
        | Some("AL32UTF8" | "UTF8" | "AL16UTF16" | "ZHS32GB18030") => Repertoire::Unicode,
        Some("utf8" | "utf8mb3" | "ucs2") => Repertoire::Bmp,
        Some("ascii" | "US7ASCII") => Repertoire::Ascii,
        Some(_) => Repertoire::Some,
    }
}

/// Whether every character of `source` is one of `dest`.
pub fn covers(dest: Option<&str>, source: Option<&str>) -> bool {
    use Repertoire::{Ascii, Bmp, Some, Unicode};
    let same = dest.is_some() && dest == source;
    same || match (repertoire(dest), repertoire(source)) {
        (Unicode, _) | (_, Ascii) | (Bmp, Bmp | Some) => true,
        (Bmp | Some | Ascii, Unicode) | (Some | Ascii, Bmp | Some) => false,
    }
}

/// Bytes that one character needs: at least, at most.
pub fn bytes_per_char(charset: Option<&str>) -> (u64, u64) {
    match charset {
        None | Some("utf8mb4" | "gb18030" | "AL32UTF8" | "ZHS32GB18030") => (1, 4),
        Some("utf8" | "utf8mb3" | "eucjpms" | "ujis") => (1, 3),
        // Oracle's UTF8 has what lies beyond the Basic Multilingual Plane as two times three.
        Some("UTF8") => (1, 6),
        Some("JA16EUC" | "JA16EUCTILDE" | "ZHT32EUC") => (1, 4),
        Some("ucs2") => (2, 2),
        Some("utf16" | "utf16le" | "AL16UTF16") => (2, 4),
        Some("utf32") => (4, 4),
        Some("big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis") => (1, 2),
        Some(name) if has_two_byte_chars(name) => (1, 2),
        Some(_) => (1, 1),
    }
}

/// Oracle's sets of East Asia say the most bytes of a character in their names: `ZHS16GBK`.
fn has_two_byte_chars(name: &str) -> bool {
    ["ZHS16", "ZHT16", "KO16", "JA16"].iter().any(|start| name.starts_with(start))
}

/// Whether text has the same bytes in both.
pub fn same_bytes(a: Option<&str>, b: Option<&str>) -> bool {
    // A database without character sets has UTF-8.
    let plain = |charset| match charset {
        None | Some("AL32UTF8") => "utf8mb4",
        Some(name) => name,
    };
    plain(a) == plain(b)
}

/// Whether `text` has characters that `charset` surely lacks.
pub fn lacks(charset: Option<&str>, text: &str) -> bool {
    match (repertoire(charset), charset) {
        (Repertoire::Unicode, _) => false,
        (Repertoire::Bmp, _) => text.chars().any(|c| u32::from(c) > 0xffff),
        (Repertoire::Ascii, _) => !text.is_ascii(),
        (Repertoire::Some, Some("WE8ISO8859P1")) => text.chars().any(|c| u32::from(c) > 0xff),
        (Repertoire::Some, _) => false,
    }
}
