//! `ssync top`: what runs, as it runs.
//!
//! - [`model`]: what is known and how it is looked at; [`meter`]: speeds.
//! - [`draw`], [`details`]: the picture of a model.
//! - [`eye`]: reads shared memory, and the configuration database from a thread of its own, so
//!   that one that hangs does not stop the display.
//!
//! This module has the terminal, the keys and the loop.

mod details;
mod draw;
mod eye;
mod meter;
mod model;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::signals::SignalEvent;
use ssync_common::store::StoreLocation;

use draw::Theme;
use eye::{Ask, BooksReader, Eye, Told};
use model::{Model, View};

/// How often shared memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon a signal or an answer is noticed.
const NOTICE: Duration = Duration::from_millis(100);

/// Shows until a key or a signal ends it. The terminal is as before afterwards, also after a panic.
///
/// # Errors
/// [`Kind::Usage`] without a terminal.
pub fn run(location: StoreLocation, signals: &Receiver<SignalEvent>) -> Result<()> {
    if !stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::new(Kind::Usage, "ssync top needs a terminal")
            .hint("ssync status shows the same once, also as JSON."));
    }
    let home = location.home.path().to_path_buf();
    let model = Model::new(home.display().to_string());
    let books = BooksReader::start(location)?;
    let theme = Theme::new(std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()));
    // Also sets a panic hook that restores the terminal first.
    let terminal = ratatui::try_init().map_err(terminal_error)?;
    let shown = Screen { terminal, model, theme, books, eye: Eye::new(home) }.show(signals);
    let restored = ratatui::try_restore().map_err(terminal_error);
    shown.and(restored)
}

/// Waits for a key, for at most so long; false when the terminal has gone away. Without a
/// controlling terminal no signal says so, and crossterm would read its end for ever: it is asked
/// only for what is known to be there.
fn wait_for_key(patience: Duration) -> bool {
    let stdin = std::io::stdin();
    let mut asked = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let patience = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    match poll(&mut asked, PollTimeout::from(patience)) {
        Ok(_) => !asked[0].revents().is_none_or(|found| found.intersects(gone)),
        // A signal: another size, perhaps.
        Err(_) => true,
    }
}

fn terminal_error(e: std::io::Error) -> Error {
    Error::from(e).context("could not use the terminal")
}

struct Screen {
    terminal: DefaultTerminal,
    model: Model,
    theme: Theme,
    books: BooksReader,
    eye: Eye,
}

impl Screen {
    fn show(mut self, signals: &Receiver<SignalEvent>) -> Result<()> {
        let mut next_look = Instant::now();
        loop {
            let mut changed = false;
            if Instant::now() >= next_look {
                self.look();
                next_look = Instant::now() + LOOK_EVERY;
                changed = true;
            }
            while let Some(told) = self.books.told()? {
                match told {
                    Told::Books(books) => self.model.read(books),
                    Told::Answer(text) => self.model.say(text),
                }
                changed = true;
            }
            if changed {
                self.draw()?;
            }
            if signals.try_recv().is_ok() {
                return Ok(());
            }
            let patience = next_look.saturating_duration_since(Instant::now()).min(NOTICE);
            if !wait_for_key(patience) {
                return Ok(());
            }
            if event::poll(Duration::ZERO).map_err(terminal_error)? {
                if let Event::Key(key) = event::read().map_err(terminal_error)?
                    && key.kind != KeyEventKind::Release
                    && self.key(key)
                {
                    return Ok(());
                }
                self.draw()?;
            }
        }
    }

    fn look(&mut self) {
        self.model.look(self.eye.look());
        let shown = match self.model.view {
            View::Details(_) => self.model.selected(),
            View::List => None,
        };
        self.model.params = shown.and_then(|id| self.eye.params(&self.model, id));
    }

    /// All of it reaches the terminal at once: no half-drawn picture is ever seen.
    fn draw(&mut self) -> Result<()> {
        execute!(stdout(), BeginSynchronizedUpdate).map_err(terminal_error)?;
        let drawn = self.terminal.draw(|frame| draw::draw(frame, &self.model, self.theme));
        let done = drawn.map(drop).map_err(terminal_error);
        execute!(stdout(), EndSynchronizedUpdate).map_err(terminal_error)?;
        done
    }

    /// Does what a key says; true ends the display.
    fn key(&mut self, key: KeyEvent) -> bool {
        let page = self.terminal.size().map_or(10, |s| isize::from(s.height as i16 / 2));
        let model = &mut self.model;
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('q') => return true,
            KeyCode::Esc if model.view == View::List => return true,
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => model.view = View::List,
            KeyCode::Enter if model.view != View::List => model.view = View::List,
            KeyCode::Enter | KeyCode::Right if model.selected().is_some() => {
                model.view = View::Details(0);
                self.look();
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-page),
            KeyCode::PageDown => self.step(page),
            KeyCode::Home => self.step(isize::MIN / 2),
            KeyCode::End => self.step(isize::MAX / 2),
            KeyCode::Char('a') if model.view == View::List => model.toggle_active(),
            KeyCode::Char('p') => self.ask(Ask::Pause),
            KeyCode::Char('r') => self.ask(Ask::Resume),
            _ => {}
        }
        false
    }

    fn step(&mut self, by: isize) {
        self.model.step(by);
        if let (View::Details(from), Some(id)) = (self.model.view, self.model.selected())
            && let Ok(size) = self.terminal.size()
        {
            let lines = details::everything(&self.model, id, size.width, self.theme).len();
            let room = usize::from(size.height.saturating_sub(draw::LINES_AROUND + 1));
            self.model.view = View::Details(from.min(lines.saturating_sub(room)));
        }
    }

    fn ask(&mut self, ask: fn(u32) -> Ask) {
        if let Some(id) = self.model.selected() {
            self.model.say("…");
            self.books.ask(ask(id));
        }
    }
}
