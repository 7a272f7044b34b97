//! What the end-to-end tests share: real servers, real processes. And the benchmark.

pub mod bench;
pub mod cable;
pub mod command;
pub mod listeners;
pub mod rng;
pub mod servers;
pub mod sites;
pub mod ssync;
pub mod tls_front;
