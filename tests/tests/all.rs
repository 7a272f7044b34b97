//! All end-to-end tests in one binary: one build, shared servers.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "all/servers.rs"]
mod servers;
