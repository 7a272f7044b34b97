//! What the end-to-end tests share: real servers, real processes.

pub mod servers;
