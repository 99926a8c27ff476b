//! Standard output, as a terminal or as something else: how wide it is, whether it shows colours, and writing to it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use super::process_env;

/// What is printed on.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns; `None`: no terminal, lines may be of any length.
    pub width: Option<usize>,
    /// Whether colours are shown.
    pub colours: bool,
}

/// A colour or weight, as ANSI numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For headings.
    Bold = 1,
    /// For what may be passed over.
    Dim = 2,
    /// For what is wrong.
    Red = 31,
    /// For what is well.
    Green = 32,
    /// For what is neither.
    Yellow = 33,
}

impl Terminal {
    /// Standard output. Colours where a terminal is to be read, unless `NO_COLOR` is set.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = is_terminal.then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
        let colours = is_terminal && process_env("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { width: size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0), colours }
    }

    /// The text in a colour, where there are colours.
    #[must_use]
    pub fn paint(self, paint: Paint, text: impl Display) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", paint as u8) } else { text.to_string() }
    }

    /// Prints over what was printed before, where that can be.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn replace(self, text: &str) -> io::Result<()> {
        if self.width.is_none() {
            return print(text);
        }
        // Home; each line cleared behind its end; what is below cleared. Nothing flickers.
        let lines = text.replace('\n', "\x1b[K\n");
        print(&format!("\x1b[H{lines}\x1b[J"))
    }
}

/// Writes to standard output, at once. Not `println!`, which panics where nobody reads any more.
///
/// # Errors
/// The system's.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
