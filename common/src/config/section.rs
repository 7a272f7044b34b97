//! Walking a TOML document so that every mistake in it is found, not just the first.
//!
//! A [`Section`] is a TOML table that remembers which keys were asked for; [`Section::finish`]
//! reports the others. A [`Node`] is a value with its path. A value of the wrong type is reported
//! once and then missing; whoever needs a value puts a placeholder there, and complaints of the
//! later validation about such a path are dropped ([`Reader::is_broken`]).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::option::Limit;
use super::violation::Violation;

/// The document's text and what was found so far.
pub struct Reader {
    line_starts: Vec<usize>,
    violations: RefCell<Vec<Violation>>,
    broken: RefCell<BTreeSet<String>>,
    lines: RefCell<BTreeMap<String, Vec<usize>>>,
}

impl Reader {
    /// For this document.
    pub fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Reader {
            line_starts: std::iter::once(0).chain(breaks).collect(),
            violations: RefCell::default(),
            broken: RefCell::default(),
            lines: RefCell::default(),
        }
    }

    /// The line, from 1, of a byte offset.
    pub fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Records a mistake.
    pub fn report(&self, path: &str, line: Option<usize>, message: impl Into<String>) {
        let message = message.into();
        self.violations.borrow_mut().push(Violation { path: path.to_owned(), line, message });
    }

    /// Whether the value at this path is only a placeholder.
    pub fn is_broken(&self, path: &str) -> bool {
        self.broken.borrow().contains(path)
    }

    /// The line of the `nth` entry (from 0) with this path, or of the nearest section around it.
    pub fn line_of(&self, path: &str, nth: usize) -> Option<usize> {
        let lines = self.lines.borrow();
        let mut path = path;
        loop {
            if let Some(found) = lines.get(path) {
                return found.get(nth).or_else(|| found.first()).copied();
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Everything found, in the order of lines.
    pub fn into_violations(self) -> Vec<Violation> {
        let mut found = self.violations.into_inner();
        found.sort_by_key(|v| v.line);
        found
    }

    /// The document's top level.
    pub fn root<'a>(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            reader: self,
            path: String::new(),
            line: None,
            table,
            known: RefCell::default(),
            accepts_everything: RefCell::default(),
        }
    }

    fn node<'a>(&'a self, path: String, value: &'a Spanned<DeValue<'a>>, at: usize) -> Node<'a> {
        let line = self.line_at(at);
        self.lines.borrow_mut().entry(path.clone()).or_default().push(line);
        Node { reader: self, path, line, value: value.get_ref() }
    }

    fn broken(&self, path: &str, line: Option<usize>, message: impl Into<String>) {
        self.broken.borrow_mut().insert(path.to_owned());
        self.report(path, line, message);
    }
}

/// A TOML table being read.
pub struct Section<'a> {
    reader: &'a Reader,
    path: String,
    line: Option<usize>,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
    accepts_everything: RefCell<bool>,
}

impl<'a> Section<'a> {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`, if it is there.
    pub fn optional(&self, key: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().push(key);
        let (name, value) = self.table.get_key_value(key)?;
        Some(self.reader.node(self.path_of(key), value, name.span().start))
    }

    /// The value of a key that is no longer documented, if it is there.
    pub fn former(&self, key: &'static str) -> Option<Node<'a>> {
        self.table.contains_key(key).then(|| self.optional(key))?
    }

    /// The value of `key`; its absence is a mistake.
    pub fn required(&self, key: &'static str) -> Option<Node<'a>> {
        let node = self.optional(key);
        if node.is_none() {
            self.reader.broken(&self.path_of(key), self.line, "is missing");
        }
        node
    }

    /// Marks this list entry's own `key` (name or id) as a placeholder under the path that the
    /// validation gives it.
    pub fn is_named_by_placeholder(&self, key: &str, placeholder: &str) {
        let list = self.path.rfind('[').map_or("", |i| &self.path[..i]);
        self.reader.broken.borrow_mut().insert(format!("{list}[{placeholder}].{key}"));
    }

    /// Every entry, for sections whose keys are the user's own (column names).
    pub fn entries(&self) -> Vec<(String, Node<'a>)> {
        let node = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let path = format!("{}[{name}]", self.path);
            (name.to_string(), self.reader.node(path, value, key.span().start))
        };
        self.table.iter().map(node).collect()
    }

    /// Reports a mistake about the section as a whole.
    pub fn broken(&self, message: impl Into<String>) {
        self.reader.broken(&self.path, self.line, message);
    }

    /// Leaves keys that nobody asked for unreported: what may stand here is not known.
    pub fn accept_everything(&self) {
        self.known.borrow_mut().clear();
        *self.accepts_everything.borrow_mut() = true;
    }

    /// Marks the value of `key` as a placeholder that is not to be complained about.
    pub fn is_broken_at(&self, key: &str) {
        self.reader.broken.borrow_mut().insert(self.path_of(key));
    }

    /// Reports the keys nobody asked for; `elsewhere` finds the section where a key belongs.
    pub fn finish(self, elsewhere: impl Fn(&str) -> Option<&'static str>) {
        if self.accepts_everything.into_inner() {
            return;
        }
        let known = self.known.into_inner();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let advice = match (nearest(name, &known), elsewhere(name)) {
                (_, Some(section)) => format!(" (it belongs in {section})"),
                (Some(near), None) => format!(" (did you mean {near}?)"),
                (None, None) => format!(" (known here: {})", known.join(", ")),
            };
            let line = self.reader.line_at(key.span().start);
            // A key can be anything, a pasted password too: only its beginning is shown.
            let shown: String = name.chars().take(40).collect();
            let message = format!("unknown key {shown}{advice}");
            self.reader.report(&self.path, Some(line), message);
        }
    }
}

fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let close = |k: &&'static str| {
        let distance = strsim::damerau_levenshtein(name, k);
        (distance <= 1 + k.chars().count() / 4).then_some((distance, *k))
    };
    let name_is_long = name.chars().count() > 40;
    known.iter().filter(|_| !name_is_long).filter_map(close).min().map(|(_, k)| k)
}

/// A value being read.
pub struct Node<'a> {
    reader: &'a Reader,
    path: String,
    line: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    /// The value itself.
    pub fn value(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// Reports a mistake in this value.
    pub fn broken(&self, message: impl Into<String>) {
        self.reader.broken(&self.path, Some(self.line), message);
    }

    fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        self.broken(format!("must be {wanted}, not {}", with_article(self.value.type_str())));
        None
    }

    /// A string.
    pub fn string(&self) -> Option<String> {
        match self.value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type("a string"),
        }
    }

    /// A string that reads as `T`.
    pub fn parsed<T: std::str::FromStr<Err = String>>(&self) -> Option<T> {
        let text = match self.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(at) => at.to_string(),
            DeValue::Integer(n) => n.to_string(),
            _ => return self.wrong_type("a string"),
        };
        text.parse().map_err(|e: String| self.broken(format!("{:?} {e}", cut(&text)))).ok()
    }

    /// One of the listed words.
    pub fn choice<T: Clone>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.string()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, v)| v.clone());
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let advice = match nearest(&text, &words) {
                Some(near) => format!("did you mean {near}? "),
                None => String::new(),
            };
            self.broken(format!(
                "{:?} is unknown ({advice}known: {})",
                cut(&text),
                words.join(", ")
            ));
        }
        found
    }

    /// An integer within `limit`.
    pub fn integer(&self, limit: Limit) -> Option<u64> {
        let DeValue::Integer(n) = self.value else {
            return self.wrong_type("an integer");
        };
        // Text longer than an i128 is out of every range as well.
        let value = i128::from_str_radix(n.as_str(), n.radix()).unwrap_or(i128::MAX);
        if let Some(message) = limit.check(value) {
            self.broken(message);
            return None;
        }
        u64::try_from(value).ok()
    }

    /// True or false.
    pub fn boolean(&self) -> Option<bool> {
        match self.value.as_bool() {
            Some(b) => Some(b),
            None => self.wrong_type("true or false"),
        }
    }

    /// The elements of an array, their paths made by `label` (which gets the element and its
    /// place, from 1).
    pub fn elements(&self, label: impl Fn(&DeValue<'_>, usize) -> String) -> Vec<Node<'a>> {
        let Some(array) = self.value.as_array() else {
            return self.wrong_type("a list").unwrap_or_default();
        };
        let node = |(i, value): (usize, &'a Spanned<DeValue<'a>>)| {
            let path = format!("{}[{}]", self.path, label(value.get_ref(), i + 1));
            self.reader.node(path, value, value.span().start)
        };
        array.iter().enumerate().map(node).collect()
    }

    /// A list of strings.
    pub fn strings(&self) -> Vec<String> {
        self.elements(|_, n| format!("#{n}")).iter().filter_map(Node::string).collect()
    }

    /// A section.
    pub fn section(&self) -> Option<Section<'a>> {
        match self.value.as_table() {
            Some(table) => Some(Section {
                reader: self.reader,
                path: self.path.clone(),
                line: Some(self.line),
                table,
                known: RefCell::default(),
                accepts_everything: RefCell::default(),
            }),
            None => self.wrong_type("a section"),
        }
    }
}

/// What of a wrong value may be shown.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn with_article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}
