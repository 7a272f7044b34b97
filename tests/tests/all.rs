//! All end-to-end tests in one binary: one build, shared servers.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "all/application.rs"]
mod application;
#[path = "all/backlog.rs"]
mod backlog;
#[path = "all/bad_row_texts.rs"]
mod bad_row_texts;
#[path = "all/books.rs"]
mod books;
#[path = "all/chaos.rs"]
mod chaos;
#[path = "all/check_findings.rs"]
mod check_findings;
#[path = "all/config_command.rs"]
mod config_command;
#[path = "all/config_on_server.rs"]
mod config_on_server;
#[path = "all/config_secrets.rs"]
mod config_secrets;
#[path = "all/config_store.rs"]
mod config_store;
#[path = "all/conformance.rs"]
mod conformance;
#[path = "all/counted.rs"]
mod counted;
#[path = "all/crash_matrix.rs"]
mod crash_matrix;
#[path = "all/daemon.rs"]
mod daemon;
#[path = "all/daemon_hosts.rs"]
mod daemon_hosts;
#[path = "all/deaths.rs"]
mod deaths;
#[path = "all/docs.rs"]
mod docs;
#[path = "all/ends.rs"]
mod ends;
#[path = "all/events.rs"]
mod events;
#[path = "all/fitting.rs"]
mod fitting;
#[path = "all/frozen.rs"]
mod frozen;
#[path = "all/grammar.rs"]
mod grammar;
#[path = "all/health.rs"]
mod health;
#[path = "all/key_limits.rs"]
mod key_limits;
#[path = "all/looking.rs"]
mod looking;
#[path = "all/memory.rs"]
mod memory;
#[path = "all/mysql_describe.rs"]
mod mysql_describe;
#[path = "all/mysql_keys.rs"]
mod mysql_keys;
#[path = "all/mysql_load.rs"]
mod mysql_load;
#[path = "all/mysql_random.rs"]
mod mysql_random;
#[path = "all/mysql_read.rs"]
mod mysql_read;
#[path = "all/mysql_session.rs"]
mod mysql_session;
#[path = "all/mysql_support.rs"]
mod mysql_support;
#[path = "all/mysql_types.rs"]
mod mysql_types;
#[path = "all/one_state.rs"]
mod one_state;
#[path = "all/operators.rs"]
mod operators;
#[path = "all/oracle_crash.rs"]
mod oracle_crash;
#[path = "all/oracle_lobs.rs"]
mod oracle_lobs;
#[path = "all/oracle_python.rs"]
mod oracle_python;
#[path = "all/oracle_script.rs"]
mod oracle_script;
#[path = "all/oracle_server.rs"]
mod oracle_server;
#[path = "all/oracle_values.rs"]
mod oracle_values;
#[path = "all/order_and_failure.rs"]
mod order_and_failure;
#[path = "all/pace.rs"]
mod pace;
#[path = "all/parameters.rs"]
mod parameters;
#[path = "all/pausing.rs"]
mod pausing;
#[path = "all/permits.rs"]
mod permits;
#[path = "all/process_roles.rs"]
mod process_roles;
#[path = "all/process_shm.rs"]
mod process_shm;
#[path = "all/readers.rs"]
mod readers;
#[path = "all/refusals.rs"]
mod refusals;
#[path = "all/resend.rs"]
mod resend;
#[path = "all/restarts.rs"]
mod restarts;
#[path = "all/reuse.rs"]
mod reuse;
#[path = "all/row_path.rs"]
mod row_path;
#[path = "all/secrets.rs"]
mod secrets;
#[path = "all/servers.rs"]
mod servers;
#[path = "all/setups.rs"]
mod setups;
#[path = "all/sql_steps.rs"]
mod sql_steps;
#[path = "all/swapping.rs"]
mod swapping;
#[path = "all/told.rs"]
mod told;
#[path = "all/top.rs"]
mod top;
#[path = "all/truth.rs"]
mod truth;
#[path = "all/type_grid.rs"]
mod type_grid;
#[path = "all/unreachable.rs"]
mod unreachable;
#[path = "all/upgrade.rs"]
mod upgrade;

/// What needs switches that only the Oracle stand-in has. `scripts/test-oracle` leaves out every
/// test with a module of this name in its path.
#[path = "all"]
mod standin {
    mod oracle_opening;
    mod oracle_tls;
}
