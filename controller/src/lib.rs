//! The controller.

pub mod key_command;
