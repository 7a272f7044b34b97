//! Configuration: the model ([`Config`] and below), the TOML file people write, its validation.
//! Where it is kept is the business of [`crate::store`].
//!
//! Reading has two stages, so that every mistake is reported at once with its dotted path and
//! line: [`Config::from_toml`] walks the document (types, missing and unknown keys), then
//! [`mod@validate`] judges what was read (names that exist, ranges, combinations). Configurations
//! that come from elsewhere go through [`fn@validate`] alone.
//!
//! Every key is defined in one place, see [`option`].

mod diff;
mod link;
mod merge;
mod model;
pub(crate) mod option;
mod option_types;
mod read;
mod read_receivers;
mod receivers;
mod renames;
mod schedule;
mod secret_source;
mod section;
mod table;
mod table_choices;
mod task;
mod task_name;
pub mod template;
mod time;
mod validate;
mod validate_receivers;
mod violation;

pub use diff::{Change, ChangeKind, diff};
pub use model::*;
pub use receivers::*;
pub use renames::{Renames, SubTask};
pub use task_name::{TaskNames, TaskRef, find as find_task, label as task_label, unknown_table};
pub use time::{Clock, Lag, Moment, PERIOD_SECS_MAX, Period, duration_text, parse_duration};
pub(crate) use validate::check_url;
pub use validate::validate;
pub use violation::{Violation, refusal};

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tests_oracle;
#[cfg(test)]
mod tests_receivers;
