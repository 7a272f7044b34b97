//! `ssync generate`: man pages and shell completions, from the definition that the parser uses.

use std::path::Path;

use clap_complete::Shell;
use ssync_common::error::{Error, Result};

use crate::cli::GenerateKind;
use crate::manual;

/// Writes the files into `dir`, which is made when it is missing. Hidden commands have none.
pub fn run(kind: GenerateKind, dir: &Path) -> Result<()> {
    write(kind, dir)
        .map_err(|e| Error::from(e).context(format!("could not write to {}", dir.display())))
}

fn write(kind: GenerateKind, dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    match kind {
        GenerateKind::Man => clap_mangen::generate_to(manual::command(), dir),
        GenerateKind::Completions => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut manual::command(), "ssync", dir)?;
            }
            Ok(())
        }
    }
}
