//! Which declared type makes SQLite convert what is stored, and how such a column's values travel.

use crate::schema::Kind;

/// What a column does to a value that is stored in it (<https://sqlite.org/datatype3.html>, 3.1),
/// with `BLOB` kept apart from no declared type at all: the first announces bytes, the second
/// announces nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Text and integral reals become integers where nothing is lost.
    Integer,
    /// Numbers become text.
    Text,
    /// Declared as bytes; nothing is converted.
    Blob,
    /// Integers and numeric text become reals.
    Real,
    /// Numeric text becomes a number, integral reals become integers.
    Numeric,
    /// Nothing declared, or `ANY` in a `STRICT` table: nothing is converted.
    Any,
}

impl Affinity {
    /// Of a declared type; in a `STRICT` table `ANY` converts nothing, elsewhere it is numeric.
    pub fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.trim().to_ascii_uppercase();
        let has = |word: &str| declared.contains(word);
        if declared.is_empty() || (strict && declared == "ANY") {
            Affinity::Any
        } else if has("INT") {
            Affinity::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if has("BLOB") {
            Affinity::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    /// The name, which is the column's family: the declared length or precision means nothing to
    /// SQLite, the affinity does.
    pub fn family(self) -> &'static str {
        match self {
            Affinity::Integer => "integer",
            Affinity::Text => "text",
            Affinity::Blob => "blob",
            Affinity::Real => "real",
            Affinity::Numeric => "numeric",
            Affinity::Any => "any",
        }
    }

    /// Reads [`Affinity::family`].
    pub fn from_family(family: &str) -> Option<Self> {
        Some(match family {
            "integer" => Affinity::Integer,
            "text" => Affinity::Text,
            "blob" => Affinity::Blob,
            "real" => Affinity::Real,
            "numeric" => Affinity::Numeric,
            "any" => Affinity::Any,
            _ => return None,
        })
    }

    /// How the values travel. Where the affinity announces one storage class, a value of another
    /// one is a bad value of its row; where it announces none, each value carries its own.
    pub fn kind(self) -> Kind {
        match self {
            Affinity::Integer => Kind::Int,
            Affinity::Text => Kind::Text,
            Affinity::Blob => Kind::Bytes,
            Affinity::Real => Kind::Float64,
            Affinity::Numeric | Affinity::Any => Kind::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_have_the_affinity_that_sqlite_documents() {
        for (declared, affinity) in [
            ("INT", Affinity::Integer),
            ("BIGINT UNSIGNED", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("VARCHAR(20)", Affinity::Text),
            ("NATIVE CHARACTER(70)", Affinity::Text),
            ("CLOB", Affinity::Text),
            ("LONGTEXT", Affinity::Text),
            ("BLOB", Affinity::Blob),
            ("", Affinity::Any),
            ("DOUBLE PRECISION", Affinity::Real),
            ("FLOAT", Affinity::Real),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("BOOLEAN", Affinity::Numeric),
            ("DATETIME", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
            ("ANY", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared, false), affinity, "{declared}");
            assert_eq!(Affinity::from_family(affinity.family()), Some(affinity));
        }
        assert_eq!(Affinity::of("any", true), Affinity::Any);
    }
}
