//! How a pull or a build goes on, for the log: enough to see that it moves, not a line for each block.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about one pull.
const EVERY: Duration = Duration::from_secs(2);

/// Lets one message through at a time.
#[derive(Debug)]
pub(super) struct Throttle(Option<Instant>);

impl Throttle {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Whether it is time for another line.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// The last lines of a build's output, for the error that it may end in.
#[derive(Debug)]
pub(super) struct LastLines {
    keep: usize,
    lines: VecDeque<String>,
}

impl LastLines {
    pub(super) fn keeping(keep: usize) -> Self {
        Self { keep, lines: VecDeque::new() }
    }

    pub(super) fn push(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        if self.lines.len() > self.keep {
            self.lines.pop_front();
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| ["\n  ", line.as_str()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_at_a_time() {
        let mut throttle = Throttle::new();
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
        tokio::time::advance(EVERY).await;
        assert!(throttle.is_due());
    }

    #[test]
    fn the_last_lines_stay() {
        let mut last = LastLines::keeping(2);
        for line in ["a", "b", "c"] {
            last.push(line);
        }
        assert_eq!(last.text(), "\n  b\n  c");
    }
}
