//! One table of options: each key of the TOML file is defined in one place.
//!
//! [`section!`] defines a section: its struct and, for each key, its documentation, type, default,
//! range, the columns that hold it and the schema version these came with. From that one
//! definition come
//! - reading TOML ([`read`]) and the advice where a misplaced key belongs ([`home`]),
//! - the check of each value by itself ([`check`]); what must hold between options stands in
//!   [`mod@super::validate`],
//! - `serde` both ways: `ssync export`, and the parameters of processes,
//! - the columns of the configuration database, their contents, and the schema version
//!   ([`columns`] and `store::option_rows`),
//! - the tables of keys in `docs/CONFIGURATION.md` (`reference`).
//!
//! To add an option, add a field to its section, with `.since(N)` where it is stored in a column,
//! N being the next schema version, and run the tests once with `UPDATE_DOCS=1`:
//!
//! ```text
//! /// How long a pause may hold the snapshot open. A longer one gives it up.
//! snapshot_max: Period = default(|| Period::TEN_MINUTES).column("snapshot_max_secs").since(8);
//! ```
//!
//! The documentation comment is Markdown and becomes the key's row in the reference; its first
//! sentence describes the column, unless [`Spec::about`] does. A new *type* of option implements
//! [`OptionType`], and [`Stored`] where it has columns. Tests walk the table: an option that is
//! not read, exported, stored, documented or kept to its range fails them.

use std::borrow::Cow;

use super::section::Section;
use super::validate::Findings;
use super::{Controller, Link, Schedule, TableTask, Task};
use crate::connector::OwnType;
use crate::error::Result;
use crate::store::schema::ColumnDef;
use crate::value::Value;

pub(super) use super::option_types::OptionType;
pub(crate) use super::option_types::Stored;
pub(super) use super::section::Node;

/// A range of whole numbers, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    low: u64,
    high: u64,
}

impl Limit {
    /// From `low` to `high`.
    pub const fn new(low: u64, high: u64) -> Self {
        Limit { low, high }
    }

    /// As much of it as a type holds whose largest number is `max`.
    pub fn within(self, max: u64) -> Self {
        Limit { high: self.high.min(max), ..self }
    }

    /// Its ends.
    #[cfg(test)]
    pub fn ends(self) -> (u64, u64) {
        (self.low, self.high)
    }

    /// In words: `1 to 64`; sizes in bytes also as `64 KiB to 1 GiB`.
    pub fn words(self) -> String {
        let plain = format!("{} to {}", self.low, self.high);
        let size = |n: u64| match n {
            n if n >= 1 << 30 && n.is_multiple_of(1 << 30) => Some(format!("{} GiB", n >> 30)),
            n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => Some(format!("{} MiB", n >> 20)),
            n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => Some(format!("{} KiB", n >> 10)),
            _ => None,
        };
        match (size(self.low), size(self.high)) {
            (Some(low), Some(high)) => format!("{plain} ({low} to {high})"),
            _ => plain,
        }
    }

    /// In words for the reference: `integer, 1 to 64`.
    pub fn of_integers(self) -> String {
        match self.high {
            high if high == i64::MAX as u64 => format!("integer, from {}", self.low),
            _ => format!("integer, {}", self.words()),
        }
    }

    /// What is wrong with `value`; `None` when it is in range.
    pub fn check(self, value: impl Into<i128>) -> Option<String> {
        let value = value.into();
        let out = value < i128::from(self.low) || value > i128::from(self.high);
        out.then(|| format!("{value} is outside {}", self.words()))
    }
}

/// Most columns of one option.
const COLUMNS_MAX: usize = 2;

/// What is known of an option whatever its type.
#[derive(Clone, Copy)]
pub struct Facts {
    pub(super) limit: Option<Limit>,
    /// Names and meanings of its columns in the row of its section; no name: no such column, no
    /// meaning: the documentation's first sentence.
    columns: [(&'static str, &'static str); COLUMNS_MAX],
    kinds: &'static [OwnType],
    nullable: bool,
    one_means: bool,
    /// Table and columns that a hand-written encoding puts it into; tests see to it that they do.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(crate) elsewhere: Option<(&'static str, &'static [&'static str])>,
    /// The schema version its columns came with.
    pub(crate) since: i64,
    shown: bool,
    names_entry: Option<&'static str>,
    read_apart: bool,
    default_words: Option<&'static str>,
}

#[cfg(test)]
impl Facts {
    /// Whether it is exported also where it has its default.
    pub fn is_shown(&self) -> bool {
        self.shown
    }
}

/// The definition of an option of type `T`, made by [`required`], [`default`] or [`unset`].
pub struct Spec<T: 'static> {
    default: Option<fn() -> T>,
    read: fn(&Node<'_>, Option<Limit>) -> Option<T>,
    codec: Option<Codec<T>>,
    former: Option<Former<T>>,
    /// What does not depend on the type.
    pub facts: Facts,
}

#[derive(Clone, Copy)]
struct Codec<T> {
    store: fn(&T) -> Result<Vec<Value>>,
    load: fn(&[Value]) -> std::result::Result<T, usize>,
}

/// A key that files may still have in the place of another one.
#[derive(Clone, Copy)]
struct Former<T> {
    key: &'static str,
    read: fn(&Node<'_>) -> Option<T>,
}

/// An option without which the section is no good.
pub const fn required<T: OptionType>() -> Spec<T> {
    let facts = Facts {
        limit: None,
        columns: [("", ""); COLUMNS_MAX],
        kinds: &[],
        nullable: false,
        one_means: false,
        elsewhere: None,
        since: 1,
        shown: false,
        names_entry: None,
        read_apart: false,
        default_words: None,
    };
    Spec { default: None, read: T::read, codec: None, former: None, facts }
}

/// An option with a default.
pub const fn default<T: OptionType>(value: fn() -> T) -> Spec<T> {
    let Spec { read, facts, .. } = required();
    Spec { default: Some(value), read, codec: None, former: None, facts }
}

/// An option whose default is that of its type: false, the first word, nothing.
pub const fn unset<T: OptionType + Default>() -> Spec<T> {
    default(T::default)
}

impl<T> Spec<T> {
    const fn with(self, facts: Facts) -> Self {
        Spec { facts, ..self }
    }

    /// A number within these ends.
    pub const fn range(self, low: u64, high: u64) -> Self {
        let facts = Facts { limit: Some(Limit::new(low, high)), ..self.facts };
        self.with(facts)
    }

    /// The schema version that its columns came with; NULL then means the default.
    pub const fn since(self, version: i64) -> Self {
        let facts = Facts { since: version, ..self.facts };
        self.with(facts)
    }

    /// Exported also where it has its default.
    pub const fn shown(self) -> Self {
        let facts = Facts { shown: true, ..self.facts };
        self.with(facts)
    }

    /// The key that names the section in lists; `placeholder` is its value after a mistake.
    pub const fn names_entry(self, placeholder: &'static str) -> Self {
        let facts = Facts { names_entry: Some(placeholder), ..self.facts };
        self.with(facts)
    }

    /// The default as the reference shows it, where the value says too little.
    pub const fn default_words(self, words: &'static str) -> Self {
        let facts = Facts { default_words: Some(words), ..self.facts };
        self.with(facts)
    }

    /// A former key, which files may still have, and how its value is read.
    pub const fn formerly(self, key: &'static str, read: fn(&Node<'_>) -> Option<T>) -> Self {
        Spec { former: Some(Former { key, read }), ..self }
    }

    /// Another way of reading its value.
    pub const fn read_by(self, read: fn(&Node<'_>, Option<Limit>) -> Option<T>) -> Self {
        Spec { read, ..self }
    }

    /// Read by the section itself, together with other keys.
    pub const fn read_apart(self) -> Self {
        let facts = Facts { read_apart: true, ..self.facts };
        self.with(facts)
    }

    /// Stored by hand in these columns of another table, or of other rows.
    pub const fn elsewhere(self, table: &'static str, columns: &'static [&'static str]) -> Self {
        let facts = Facts { elsewhere: Some((table, columns)), ..self.facts };
        self.with(facts)
    }

    /// What its first column means, where that differs from the documentation's first sentence.
    pub const fn about(self, about: &'static str) -> Self {
        let [(name, _), second] = self.facts.columns;
        let facts = Facts { columns: [(name, about), second], ..self.facts };
        self.with(facts)
    }
}

impl<T: OptionType + Stored> Spec<T> {
    /// Stored in a column of the section's row.
    pub const fn column(self, name: &'static str) -> Self {
        let facts = Facts {
            columns: [(name, ""), ("", "")],
            kinds: T::KINDS,
            nullable: T::NULLABLE,
            one_means: T::ONE_MEANS,
            ..self.facts
        };
        let codec = Some(Codec { store: T::store, load: T::load });
        Spec { codec, facts, ..self }
    }

    /// What its column holds, where that is another form of its value.
    pub const fn stored_by(
        self,
        store: fn(&T) -> Result<Vec<Value>>,
        load: fn(&[Value]) -> std::result::Result<T, usize>,
    ) -> Self {
        let codec = Some(Codec { store, load });
        Spec { codec, ..self }
    }

    /// The second column of a type that has two.
    pub const fn and_column(self, name: &'static str, about: &'static str) -> Self {
        let [first, _] = self.facts.columns;
        let facts = Facts { columns: [first, (name, about)], ..self.facts };
        self.with(facts)
    }

    /// Its column holds short text, as names are: at most 64 characters.
    pub const fn short(self) -> Self {
        let facts = Facts { kinds: &[OwnType::Text(64)], ..self.facts };
        self.with(facts)
    }
}

impl<T: OptionType> Spec<T> {
    /// The value of the field before anything is read.
    pub fn blank(&self) -> T {
        self.default.map_or_else(T::placeholder, |default| default())
    }

    /// The default; `None` where it is required.
    pub fn default(&self) -> Option<T> {
        self.default.map(|default| default())
    }

    /// The default as its first column holds it.
    pub fn default_stored(&self) -> Option<Value> {
        self.store(&self.default()?).ok()?.into_iter().next()
    }

    /// Whether this value is exported.
    pub fn is_shown(&self, value: &T) -> bool {
        self.facts.shown || self.default.is_none_or(|default| default() != *value)
    }

    /// Reads its value into `field`; a mistake leaves the field unchanged.
    pub fn read(&self, section: &Section<'_>, key: &'static str, field: &mut T) {
        if self.facts.read_apart {
            return;
        }
        let node = match self.default {
            None => section.required(key),
            Some(_) => section.optional(key),
        };
        if let Some(former) = &self.former
            && let Some(old) = section.former(former.key)
        {
            if node.is_some() {
                old.broken(format!("is the former name of {key}; set only {key}"));
            } else if let Some(value) = (former.read)(&old) {
                *field = value;
            }
        }
        match node.and_then(|node| (self.read)(&node, self.facts.limit)) {
            Some(value) => *field = value,
            None => {
                if let Some(placeholder) = self.facts.names_entry {
                    section.is_named_by_placeholder(key, placeholder);
                }
            }
        }
    }

    /// What is wrong with a value by itself.
    pub fn check(&self, value: &T) -> Option<String> {
        value.check(self.facts.limit)
    }

    /// What its columns hold for a value.
    pub fn store(&self, value: &T) -> Result<Vec<Value>> {
        self.codec.as_ref().map_or(Ok(Vec::new()), |codec| (codec.store)(value))
    }

    /// Takes over what its columns hold; the place of the column that is wrong.
    pub fn load(&self, values: &[Value], field: &mut T) -> std::result::Result<(), usize> {
        let Some(codec) = &self.codec else { return Ok(()) };
        let none = values.iter().all(|v| *v == Value::Null);
        *field = match self.default {
            Some(default) if none && self.facts.since > 1 => default(),
            _ => (codec.load)(values)?,
        };
        Ok(())
    }

    /// Its default, as the reference shows it.
    pub fn default_shown(&self) -> String {
        match (self.facts.default_words, self.default) {
            (Some(words), _) => words.to_owned(),
            (None, None) => "required".to_owned(),
            (None, Some(default)) => default().shown(),
        }
    }
}

/// An option of the section `S`, its type forgotten.
pub struct Opt<S: 'static> {
    /// The key in the file.
    pub key: &'static str,
    /// The lines of its documentation.
    pub docs: &'static [&'static str],
    /// What does not depend on its type.
    pub facts: Facts,
    /// What may stand there, in words.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub types: fn() -> String,
    /// Its default, in words.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub default: fn() -> String,
    /// Its default as its first column holds it.
    pub default_stored: fn() -> Option<Value>,
    /// Reads it from its section.
    pub read: fn(&Section<'_>, &mut S),
    /// What is wrong with its value by itself.
    pub check: fn(&S) -> Option<String>,
    /// What its columns hold.
    pub store: fn(&S) -> Result<Vec<Value>>,
    /// Takes over what its columns hold; the place of the column that is wrong.
    pub load: fn(&mut S, &[Value]) -> std::result::Result<(), usize>,
    /// Gives it a value that is not its default.
    #[cfg(test)]
    pub set_sample: fn(&mut S),
}

impl<S> Opt<S> {
    /// The names of its columns in the section's row.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.facts.columns.iter().map(|(name, _)| *name).filter(|name| !name.is_empty())
    }

    /// Its documentation in one line.
    pub fn text(&self) -> String {
        self.docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    fn column_defs(&self) -> impl Iterator<Item = ColumnDef> + '_ {
        let since = self.facts.since;
        let later = since > 1 && !self.facts.nullable;
        self.facts.columns.iter().zip(self.facts.kinds).enumerate().map(
            move |(i, ((name, about), kind))| {
                let mut about = match *about {
                    "" if self.facts.one_means => Cow::Owned(one_means(&self.text())),
                    "" => Cow::Owned(first_sentence(&self.text())),
                    about => Cow::Borrowed(about),
                };
                let default = (self.default_stored)().filter(|_| later && i == 0);
                if let Some(default) = default {
                    let default = match &default {
                        Value::Text(word) => format!("`{word}`"),
                        other => other.as_i64().map(|n| n.to_string()).unwrap_or_default(),
                    };
                    about =
                        Cow::Owned(format!("{}; NULL: {default}.", about.trim_end_matches('.')));
                }
                // A second column says more of the first, and may have nothing to say.
                let nullable = self.facts.nullable || since > 1 || i > 0;
                ColumnDef { name, kind: *kind, nullable, since, about }
            },
        )
    }
}

fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or(text.to_owned(), |(first, _)| format!("{first}."))
}

/// What 1 means in a column, where the option says what `true` does.
fn one_means(text: &str) -> String {
    let sentence = first_sentence(text);
    let mut chars = sentence.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    format!("1: {first}{}", chars.as_str())
}

/// A section that is defined by its options.
pub trait Options: Sized + 'static {
    /// As people write it: `[[link]]`.
    const SECTION: &'static str;
    /// Its keys, in the order of the export.
    const OPTIONS: &'static [Opt<Self>];
    /// With its defaults, and placeholders where a value is required.
    fn blank() -> Self;
}

/// Reads a section; mistakes are reported to its reader.
pub fn read<S: Options>(section: Section<'_>) -> S {
    let read = read_open(&section);
    finish(section, S::SECTION);
    read
}

/// Reads a section that has other keys besides.
pub fn read_open<S: Options>(section: &Section<'_>) -> S {
    let mut read = S::blank();
    for option in S::OPTIONS {
        (option.read)(section, &mut read);
    }
    read
}

/// Checks each value by itself; `at` makes the path of a key.
pub(super) fn check<S: Options>(options: &S, at: &impl Fn(&str) -> String, found: &mut Findings) {
    for option in S::OPTIONS {
        if let Some(message) = (option.check)(options) {
            found.add(at(option.key), message);
        }
    }
}

/// The columns of a section's row.
pub(crate) fn columns<S: Options>() -> Vec<ColumnDef> {
    S::OPTIONS.iter().flat_map(Opt::column_defs).collect()
}

/// The newest schema version that an option of a section came with.
pub(crate) const fn newest<S: Options>() -> i64 {
    let (mut newest, mut i) = (1, 0);
    while i < S::OPTIONS.len() {
        if S::OPTIONS[i].facts.since > newest {
            newest = S::OPTIONS[i].facts.since;
        }
        i += 1;
    }
    newest
}

/// Ends the reading of a section: keys that nobody asked for are mistakes.
pub fn finish(section: Section<'_>, here: &'static str) {
    section.finish(|key| home(key).filter(|home| *home != here));
}

/// The section where a key belongs that only one has, to help who put it into another. Keys of
/// `[[key]]` and of receivers go by common words, and would mislead.
fn home(key: &str) -> Option<&'static str> {
    fn of<S: Options>(key: &str) -> Option<&'static str> {
        S::OPTIONS.iter().any(|option| option.key == key).then_some(S::SECTION)
    }
    let homes = [
        of::<Controller>(key),
        of::<Link>(key),
        of::<Schedule>(key),
        of::<Task>(key),
        of::<TableTask>(key),
    ];
    let mut homes = homes.into_iter().flatten();
    homes.next().filter(|_| homes.next().is_none())
}

/// The key of a field: its name, unless another is given.
macro_rules! option_key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Defines the options of a struct: `field [as "key"]: Type = definition;`.
macro_rules! options {
    ($name:ident in $section:literal { $(
        $(#[doc = $doc:literal])+
        $field:ident $(as $key:literal)?: $type:ty = $spec:expr;
    )+ }) => {
        const _: () = {
            #[allow(unused_imports)]
            use $crate::config::option::*;

            struct Specs { $($field: Spec<$type>,)+ }
            const SPECS: Specs = Specs { $($field: $spec,)+ };

            impl Options for $name {
                const SECTION: &'static str = $section;

                const OPTIONS: &'static [Opt<Self>] = &[$(Opt {
                    key: $crate::config::option::option_key!($field $($key)?),
                    docs: &[$($doc),+],
                    facts: SPECS.$field.facts,
                    types: || <$type as OptionType>::types(SPECS.$field.facts.limit),
                    default: || SPECS.$field.default_shown(),
                    default_stored: || SPECS.$field.default_stored(),
                    read: |section, options| {
                        SPECS.$field.read(section, $crate::config::option::option_key!($field $($key)?), &mut options.$field);
                    },
                    check: |options| SPECS.$field.check(&options.$field),
                    store: |options| SPECS.$field.store(&options.$field),
                    load: |options, values| SPECS.$field.load(values, &mut options.$field),
                    #[cfg(test)]
                    set_sample: |options| {
                        options.$field = <$type as OptionType>::sample(
                            &SPECS.$field.blank(),
                            SPECS.$field.facts.limit,
                        );
                    },
                },)+];

                fn blank() -> Self {
                    $name { $($field: SPECS.$field.blank(),)+ }
                }
            }
        };
    };
}

/// Defines a section: a struct with a field for each option, written
/// `field [as "key"]: Type = definition;`.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident in $section:literal { $(
            $(#[doc = $doc:literal])+
            $field:ident $(as $key:literal)?: $type:ty = $spec:expr;
        )+ }
    ) => {
        $(#[$attribute])*
        pub struct $name { $(
            $(#[doc = $doc])+
            pub $field: $type,
        )+ }

        $crate::config::option::options! { $name in $section { $(
            $(#[doc = $doc])+
            $field $(as $key)?: $type = $spec;
        )+ } }

        const _: () = {
            #[allow(unused_imports)]
            use $crate::config::option::*;

            struct Specs { $($field: Spec<$type>,)+ }
            const SPECS: Specs = Specs { $($field: $spec,)+ };

            impl Default for $name {
                /// All defaults, and placeholders where a value is required.
                fn default() -> Self {
                    Self::blank()
                }
            }

            impl serde::Serialize for $name {
                fn serialize<Z: serde::Serializer>(&self, to: Z) -> std::result::Result<Z::Ok, Z::Error> {
                    use serde::ser::SerializeStruct as _;
                    let shown = [$(SPECS.$field.is_shown(&self.$field)),+];
                    let fields = shown.iter().filter(|shown| **shown).count();
                    let mut shown = shown.into_iter();
                    let mut to = to.serialize_struct(stringify!($name), fields)?;
                    $(
                        if shown.next() == Some(true) {
                            to.serialize_field($crate::config::option::option_key!($field $($key)?), &self.$field)?;
                        } else {
                            to.skip_field($crate::config::option::option_key!($field $($key)?))?;
                        }
                    )+
                    to.end()
                }
            }

            #[derive(serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Given { $(
                $(#[serde(rename = $key)])?
                $field: Option<$type>,
            )+ }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<Z: serde::Deserializer<'de>>(from: Z) -> std::result::Result<Self, Z::Error> {
                    let given = Given::deserialize(from)?;
                    Ok($name { $(
                        $field: match given.$field.or_else(|| SPECS.$field.default()) {
                            Some(value) => value,
                            None => {
                                let key = $crate::config::option::option_key!($field $($key)?);
                                return Err(serde::de::Error::missing_field(key));
                            }
                        },
                    )+ })
                }
            }
        };
    };
}

pub(super) use {option_key, options, section};
