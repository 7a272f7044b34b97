//! The types that options have: how each is read, checked, shown and stored.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeValue;

use super::option::Limit;
use super::section::Node;
use super::time::{Clock, Moment, Period};
use crate::connector::{OracleDriver, OwnType, TlsMode, WriteMode};
use crate::error::{Error, Kind, Result};
use crate::event::{Severity, What};
use crate::value::Value;

/// A type that an option can have.
pub trait OptionType: Clone + PartialEq + 'static {
    /// What may stand in the file, in words.
    fn types(limit: Option<Limit>) -> String;

    /// Reads a value. A mistake is reported to the node, and gives `None`.
    fn read(node: &Node<'_>, limit: Option<Limit>) -> Option<Self>;

    /// The value of a required option until it is read.
    fn placeholder() -> Self;

    /// The value as the reference shows it.
    fn shown(&self) -> String;

    /// What is wrong with a value by itself.
    fn check(&self, _limit: Option<Limit>) -> Option<String> {
        None
    }

    /// How an element of a list is named in the path of a mistake; `n` is its place, from 1.
    fn label(_value: &DeValue<'_>, n: usize) -> String {
        format!("#{n}")
    }

    /// A value within `limit` that is not `default`.
    #[cfg(test)]
    fn sample(default: &Self, limit: Option<Limit>) -> Self;
}

/// A type that is stored in columns of its section's row.
pub trait Stored: Sized {
    /// Its columns' types; one column, unless a type needs more.
    const KINDS: &'static [OwnType];
    /// Whether NULL is a value.
    const NULLABLE: bool = false;
    /// Whether its column holds 1 where what its documentation says is so, else 0.
    const ONE_MEANS: bool = false;

    /// What the columns hold, one value each.
    ///
    /// # Errors
    /// A value that no column can hold.
    fn store(&self) -> Result<Vec<Value>>;

    /// The value that the columns hold.
    ///
    /// # Errors
    /// The place of the column that is wrong.
    fn load(values: &[Value]) -> std::result::Result<Self, usize>;
}

/// The value of a column; NULL where there is none.
pub(super) fn value(values: &[Value], place: usize) -> &Value {
    values.get(place).unwrap_or(&Value::Null)
}

/// The text of a column. (Oracle keeps an empty text as NULL.)
pub(super) fn text(values: &[Value], place: usize) -> std::result::Result<String, usize> {
    value(values, place).as_str().map(str::to_owned).ok_or(place)
}

/// The text of a column that reads as `T`.
pub(super) fn parsed<T: std::str::FromStr>(
    values: &[Value],
    place: usize,
) -> std::result::Result<T, usize> {
    text(values, place)?.parse().map_err(|_| place)
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl OptionType for $type {
            fn types(limit: Option<Limit>) -> String {
                limit.map_or("integer".to_owned(), Limit::of_integers)
            }

            fn read(node: &Node<'_>, limit: Option<Limit>) -> Option<Self> {
                // Numbers are stored with a sign.
                let limit = limit.unwrap_or(Limit::new(0, i64::MAX as u64));
                let limit = limit.within(u64::from(<$type>::MAX));
                node.integer(limit).and_then(|n| n.try_into().ok())
            }

            fn placeholder() -> Self {
                0
            }

            fn shown(&self) -> String {
                self.to_string()
            }

            fn check(&self, limit: Option<Limit>) -> Option<String> {
                limit.and_then(|limit| limit.check(*self))
            }

            #[cfg(test)]
            fn sample(default: &Self, limit: Option<Limit>) -> Self {
                let limit = limit.unwrap_or(Limit::new(0, 7)).within(u64::from(<$type>::MAX));
                let (low, high) = limit.ends();
                let sample = if u64::from(*default) == high { low } else { high };
                sample.try_into().unwrap()
            }
        }

        impl Stored for $type {
            const KINDS: &'static [OwnType] = &[OwnType::BigInt];

            fn store(&self) -> Result<Vec<Value>> {
                // Counts and limits, which stay far below the largest number.
                Ok(vec![Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))])
            }

            fn load(values: &[Value]) -> std::result::Result<Self, usize> {
                value(values, 0).as_i64().and_then(|n| n.try_into().ok()).ok_or(0)
            }
        }
    )+};
}
numbers!(u8, u32, u64);

impl OptionType for bool {
    fn types(_: Option<Limit>) -> String {
        "`true` or `false`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        node.boolean()
    }

    fn placeholder() -> Self {
        false
    }

    fn shown(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(default: &Self, _: Option<Limit>) -> Self {
        !default
    }
}

impl Stored for bool {
    const KINDS: &'static [OwnType] = &[OwnType::BigInt];
    const ONE_MEANS: bool = true;

    fn store(&self) -> Result<Vec<Value>> {
        Ok(vec![Value::Int((*self).into())])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        value(values, 0).as_i64().map(|n| n != 0).ok_or(0)
    }
}

impl OptionType for String {
    fn types(_: Option<Limit>) -> String {
        "string".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        node.string()
    }

    fn placeholder() -> Self {
        String::new()
    }

    fn shown(&self) -> String {
        format!("`{self:?}`")
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        "a sample".to_owned()
    }
}

impl Stored for String {
    const KINDS: &'static [OwnType] = &[OwnType::LongText];

    fn store(&self) -> Result<Vec<Value>> {
        Ok(vec![Value::Text(self.clone())])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        text(values, 0)
    }
}

impl OptionType for PathBuf {
    fn types(_: Option<Limit>) -> String {
        "path".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        node.string().map(PathBuf::from)
    }

    fn placeholder() -> Self {
        PathBuf::new()
    }

    fn shown(&self) -> String {
        format!("`{self:?}`")
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        "/a/sample".into()
    }
}

impl Stored for PathBuf {
    const KINDS: &'static [OwnType] = &[OwnType::LongText];

    fn store(&self) -> Result<Vec<Value>> {
        let text = self.to_str().ok_or_else(|| {
            Error::new(Kind::Config, format!("the path {} is not UTF-8", self.display()))
        })?;
        Ok(vec![Value::Text(text.to_owned())])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        text(values, 0).map(PathBuf::from)
    }
}

/// Types that a string reads as.
macro_rules! texts {
    ($($type:ty: $words:literal, $placeholder:expr, $sample:literal;)+) => {$(
        impl OptionType for $type {
            fn types(_: Option<Limit>) -> String {
                $words.to_owned()
            }

            fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
                node.parsed()
            }

            fn placeholder() -> Self {
                $placeholder
            }

            fn shown(&self) -> String {
                format!("`\"{self}\"`")
            }

            #[cfg(test)]
            fn sample(_: &Self, _: Option<Limit>) -> Self {
                $sample.parse().unwrap()
            }
        }
    )+};
}
texts! {
    Period: "length of time", Period::SECOND, "3h";
    Moment: "moment", Moment::epoch(), "2026-12-01T00:00:00+08:00";
    Clock: "time of day", Clock::MIDNIGHT, "08:30";
}

/// In seconds.
impl Stored for Period {
    const KINDS: &'static [OwnType] = &[OwnType::BigInt];

    fn store(&self) -> Result<Vec<Value>> {
        self.secs().store()
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        Period::from_secs(u64::load(values)?).ok_or(0)
    }
}

/// As it was written.
impl Stored for Moment {
    const KINDS: &'static [OwnType] = &[OwnType::Text(32)];

    fn store(&self) -> Result<Vec<Value>> {
        Ok(vec![Value::Text(self.as_str().to_owned())])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        parsed(values, 0)
    }
}

/// NULL where there is none.
impl<T: OptionType> OptionType for Option<T> {
    fn types(limit: Option<Limit>) -> String {
        T::types(limit)
    }

    fn read(node: &Node<'_>, limit: Option<Limit>) -> Option<Self> {
        T::read(node, limit).map(Some)
    }

    fn placeholder() -> Self {
        None
    }

    fn shown(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::shown)
    }

    fn check(&self, limit: Option<Limit>) -> Option<String> {
        self.as_ref().and_then(|value| value.check(limit))
    }

    #[cfg(test)]
    fn sample(_: &Self, limit: Option<Limit>) -> Self {
        Some(T::sample(&T::placeholder(), limit))
    }
}

impl<T: Stored> Stored for Option<T> {
    const KINDS: &'static [OwnType] = T::KINDS;
    const NULLABLE: bool = true;

    fn store(&self) -> Result<Vec<Value>> {
        self.as_ref().map_or_else(|| Ok(vec![Value::Null; T::KINDS.len()]), T::store)
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        match value(values, 0) {
            Value::Null => Ok(None),
            empty if empty.as_str() == Some("") => Ok(None),
            _ => T::load(values).map(Some),
        }
    }
}

impl<T: OptionType> OptionType for Vec<T> {
    fn types(limit: Option<Limit>) -> String {
        format!("list of: {}", T::types(limit))
    }

    fn read(node: &Node<'_>, limit: Option<Limit>) -> Option<Self> {
        Some(node.elements(T::label).iter().filter_map(|n| T::read(n, limit)).collect())
    }

    fn placeholder() -> Self {
        Vec::new()
    }

    fn shown(&self) -> String {
        format!("`[{}]`", self.iter().map(T::shown).collect::<Vec<_>>().join(", "))
    }

    #[cfg(test)]
    fn sample(_: &Self, limit: Option<Limit>) -> Self {
        vec![T::sample(&T::placeholder(), limit)]
    }
}

/// As JSON.
impl Stored for Vec<String> {
    const KINDS: &'static [OwnType] = &[OwnType::LongText];

    fn store(&self) -> Result<Vec<Value>> {
        let json = serde_json::to_string(self).map_err(|e| {
            Error::new(Kind::Internal, "a list cannot be written as JSON").detail(e.to_string())
        })?;
        Ok(vec![Value::Text(json)])
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        serde_json::from_str(&text(values, 0)?).map_err(|_| 0)
    }
}

/// A table whose keys are the user's own.
impl<T: OptionType> OptionType for BTreeMap<String, T> {
    fn types(limit: Option<Limit>) -> String {
        format!("by name: {}", T::types(limit))
    }

    fn read(node: &Node<'_>, limit: Option<Limit>) -> Option<Self> {
        let entry = |(name, node): (String, Node<'_>)| Some((name, T::read(&node, limit)?));
        Some(node.section()?.entries().into_iter().filter_map(entry).collect())
    }

    fn placeholder() -> Self {
        BTreeMap::new()
    }

    fn shown(&self) -> String {
        let entry = |(name, value): (&String, &T)| format!("{name} = {}", value.shown());
        match self.iter().map(entry).collect::<Vec<_>>().join(", ").as_str() {
            "" => "`{}`".to_owned(),
            entries => format!("`{{ {entries} }}`"),
        }
    }

    #[cfg(test)]
    fn sample(_: &Self, limit: Option<Limit>) -> Self {
        BTreeMap::from([("sample".to_owned(), T::sample(&T::placeholder(), limit))])
    }
}

/// Enumerations: the words of their values, in the order of the reference; serde knows the same.
macro_rules! words {
    ($($type:ty { $($word:literal = $value:ident),+ })+) => {$(
        impl $crate::config::option_types::OptionType for $type {
            fn types(_: Option<$crate::config::option::Limit>) -> String {
                [$(concat!("`\"", $word, "\"`")),+].join(", ")
            }

            fn read(
                node: &$crate::config::section::Node<'_>,
                _: Option<$crate::config::option::Limit>,
            ) -> Option<Self> {
                node.choice(&[$(($word, <$type>::$value)),+])
            }

            fn placeholder() -> Self {
                Self::default()
            }

            fn shown(&self) -> String {
                match self { $(<$type>::$value => concat!("`\"", $word, "\"`").to_owned()),+ }
            }

            #[cfg(test)]
            fn sample(default: &Self, _: Option<$crate::config::option::Limit>) -> Self {
                // What serde writes is what is read and stored.
                $(assert_eq!(serde_json::to_value(<$type>::$value).unwrap(), $word);)+
                [$(<$type>::$value),+].into_iter().find(|value| value != default).unwrap()
            }
        }

        impl $crate::config::option_types::Stored for $type {
            const KINDS: &'static [$crate::connector::OwnType] =
                &[$crate::connector::OwnType::Text(16)];

            fn store(&self) -> $crate::error::Result<Vec<$crate::value::Value>> {
                let word = match self { $(<$type>::$value => $word),+ };
                Ok(vec![$crate::value::Value::Text(word.to_owned())])
            }

            fn load(values: &[$crate::value::Value]) -> std::result::Result<Self, usize> {
                match $crate::config::option_types::text(values, 0)?.as_str() {
                    $($word => Ok(<$type>::$value),)+
                    _ => Err(0),
                }
            }
        }
    )+};
}
pub(super) use words;

words! {
    TlsMode { "off" = Off, "required" = Required, "verified" = Verified }
    OracleDriver { "thin" = Thin, "oci" = Oci }
    WriteMode { "insert" = Insert, "upsert" = Upsert, "replace" = Replace, "ignore" = Ignore }
    Severity { "info" = Info, "warning" = Warning, "error" = Error }
}

impl OptionType for What {
    fn types(_: Option<Limit>) -> String {
        "[event](#events)".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        let whats: Vec<_> = What::ALL.iter().map(|what| (what.name(), *what)).collect();
        node.choice(&whats)
    }

    fn placeholder() -> Self {
        What::DailyBrief
    }

    fn shown(&self) -> String {
        format!("`{:?}`", self.name())
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        What::TaskStuck
    }
}
