//! How the demo speaks: a heading for each act, and below it what happens, as it happens, each line with the time since
//! the demo began.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::terminal::{Paint, Terminal, print};

/// Who tells.
#[derive(Debug)]
pub(super) struct Teller {
    began: Instant,
    terminal: Terminal,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), terminal: Terminal::of_stdout() }
    }

    /// The next act.
    pub(super) fn heading(&self, text: impl Display) -> io::Result<()> {
        print(&format!("\n{}\n", self.terminal.paint(Paint::Bold, text)))
    }

    /// One of the facts that are told at the beginning.
    pub(super) fn fact(&self, name: &str, value: impl Display) -> io::Result<()> {
        print(&format!("  {} {value}\n", self.terminal.paint(Paint::Dim, format!("{name:<8}"))))
    }

    /// What a person would type.
    pub(super) fn command(&self, text: impl Display) -> io::Result<()> {
        print(&format!("  {}\n", self.terminal.paint(Paint::Bold, format!("$ {text}"))))
    }

    /// Something that `who` has done.
    pub(super) fn event(&self, who: &str, what: impl Display) -> io::Result<()> {
        print(&format!("  {} {what}\n", self.time_of(who)))
    }

    /// What a visitor got.
    pub(super) fn outcome(&self, text: impl Display) -> io::Result<()> {
        print(&format!("  {} {}\n", self.time_of("client"), self.terminal.paint(Paint::Green, text)))
    }

    fn time_of(&self, who: &str) -> String {
        let time = self.began.elapsed().as_secs_f64();
        self.terminal.paint(Paint::Dim, format!("{time:>7.2} s {who:<11}"))
    }
}

/// A file, as it is.
pub(super) fn quote(text: &str) -> io::Result<()> {
    let lines = text.trim_end().replace('\n', "\n      ");
    print(&format!("\n      {lines}\n"))
}

/// A time as people measure a wait.
pub(super) fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
