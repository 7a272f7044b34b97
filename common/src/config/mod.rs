//! Configuration: the model ([`Config`] and below), the TOML file people write, its validation.
//! Where it is kept is the business of [`crate::store`].

mod model;

pub use model::*;
