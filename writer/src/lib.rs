//! The writer.

pub mod transform;
