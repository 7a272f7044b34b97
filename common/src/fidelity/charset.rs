//! MySQL's character sets, as far as fidelity needs them.

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
        None | Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030") => Repertoire::Unicode,
        Some("utf8" | "utf8mb3" | "ucs2") => Repertoire::Bmp,
        Some("ascii") => Repertoire::Ascii,
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
        None | Some("utf8mb4" | "gb18030") => (1, 4),
        Some("utf8" | "utf8mb3" | "eucjpms" | "ujis") => (1, 3),
        Some("ucs2") => (2, 2),
        Some("utf16" | "utf16le") => (2, 4),
        Some("utf32") => (4, 4),
        Some("big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis") => (1, 2),
        Some(_) => (1, 1),
    }
}
