//! What a replica writes: its last lines, for a person who asks why it failed. Reads as fast as the replica
//! writes and keeps a bounded amount, so that a talkative replica is never stopped and never fills the memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Lines kept.
const LINES: usize = 200;
/// Bytes kept of one line.
const LINE_BYTES: usize = 4096;

/// The last lines of one replica, standard output and standard error as they came.
#[derive(Debug, Default)]
pub(super) struct Output(Mutex<VecDeque<String>>);

impl Output {
    /// The last `count` lines, oldest first.
    pub(super) fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    /// Reads one stream to its end. `replica` is how the log names its writer.
    pub(super) async fn collect(&self, mut stream: impl AsyncRead + Unpin, app: &str, replica: &str) {
        let mut buffer = vec![0; 8192];
        let mut line = Line::default();
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            for &byte in &buffer[..count] {
                if byte == b'\n' {
                    self.keep(line.take(), app, replica);
                } else {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            self.keep(line.take(), app, replica);
        }
    }

    fn keep(&self, line: String, app: &str, replica: &str) {
        tracing::debug!(target: "replica", app, replica, "{line}");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// A line that is not ended yet.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    cut: bool,
}

impl Line {
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < LINE_BYTES {
            self.bytes.push(byte);
        } else {
            self.cut = true;
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).trim_end_matches('\r').to_owned();
        if self.cut {
            text.push('…');
        }
        self.bytes.clear();
        self.cut = false;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collected(text: &str) -> Output {
        let output = Output::default();
        output.collect(text.as_bytes(), "app", "replica").await;
        output
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_oldest_first() {
        let lines: Vec<_> = (0..1000).map(|line| format!("line {line}\r\n")).collect();
        let output = collected(&lines.concat()).await;
        assert_eq!(output.tail(2), ["line 998", "line 999"]);
        assert_eq!(output.tail(usize::MAX).len(), LINES);
        assert_eq!(output.tail(0), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_line_without_end_is_kept_and_a_long_one_is_cut() {
        let output = collected(&format!("{}\nlast words", "x".repeat(100_000))).await;
        let lines = output.tail(10);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], format!("{}…", "x".repeat(LINE_BYTES)));
        assert_eq!(lines[1], "last words");
    }
}
