//! Where secrets come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::option::{Limit, Node, OptionType, Stored};
use super::option_types;
use crate::connector::OwnType;
use crate::error::Result;
use crate::value::Value;

/// Where a secret comes from. Exactly one of `env`, `file`, `stored`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretSource {
    /// An environment variable of the process that starts ssync.
    Env {
        /// Its name.
        env: String,
    },
    /// A file; a trailing line break does not count.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// Kept in the configuration database, sealed with the host key; for passwords of links only.
    Stored {
        /// Always true.
        stored: bool,
    },
}

impl OptionType for SecretSource {
    fn types(_: Option<Limit>) -> String {
        "[secret](#secrets)".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        const FORM: &str =
            "exactly one of { env = \"NAME\" }, { file = \"/path\" } or { stored = true }";
        if node.value().is_str() {
            node.broken(format!("a secret does not stand in the configuration; give {FORM}"));
            return None;
        }
        let section = node.section()?;
        let env = section.optional("env").map(|n| n.string());
        let file = section.optional("file").map(|n| n.string());
        let stored = section.optional("stored").map(|n| n.boolean());
        let source = match (env, file, stored) {
            (Some(env), None, None) => env.map(|env| SecretSource::Env { env }),
            (None, Some(file), None) => file.map(|f| SecretSource::File { file: PathBuf::from(f) }),
            (None, None, Some(stored)) => stored.map(|stored| SecretSource::Stored { stored }),
            _ => {
                section.broken(format!("needs {FORM}"));
                None
            }
        };
        section.finish(|_| None);
        source
    }

    fn placeholder() -> Self {
        SecretSource::Env { env: "UNKNOWN".to_owned() }
    }

    fn shown(&self) -> String {
        match self {
            SecretSource::Env { env } => format!("`{{ env = {env:?} }}`"),
            SecretSource::File { file } => format!("`{{ file = {file:?} }}`"),
            SecretSource::Stored { stored } => format!("`{{ stored = {stored} }}`"),
        }
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        SecretSource::File { file: "/a/sample".into() }
    }
}

/// Where it comes from, in a word, and the name or path there.
impl Stored for SecretSource {
    const KINDS: &'static [OwnType] = &[OwnType::Text(16), OwnType::LongText];

    fn store(&self) -> Result<Vec<Value>> {
        let (kind, reference) = match self {
            SecretSource::Env { env } => ("env", env.store()?),
            SecretSource::File { file } => ("file", file.store()?),
            SecretSource::Stored { .. } => ("stored", vec![Value::Null]),
        };
        Ok([vec![Value::Text(kind.to_owned())], reference].concat())
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        match option_types::text(values, 0)?.as_str() {
            "env" => Ok(SecretSource::Env { env: option_types::text(values, 1)? }),
            "file" => Ok(SecretSource::File { file: option_types::text(values, 1)?.into() }),
            "stored" => Ok(SecretSource::Stored { stored: true }),
            _ => Err(0),
        }
    }
}
