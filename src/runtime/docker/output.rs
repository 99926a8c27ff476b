//! The last lines that a container wrote.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;

use super::calls::Operation;
use super::engine::{Engine, LOOK};
use super::failure::Failure;

/// Longer lines are cut, in bytes: one line must not fill the log.
const LINE_LIMIT: usize = 4096;

/// For the whole of it.
const LIMIT: Duration = Duration::from_secs(10);

/// The last `lines` lines of stdout and stderr together, oldest first.
pub(super) async fn tail(engine: &Engine, id: &str, lines: usize) -> Result<Vec<String>, Failure> {
    let what = format!("read the output of container {id:.12}");
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
    let session = engine.begin(Operation::Logs).await?;
    let read = async {
        let mut stream = session.docker.logs(id, Some(options));
        let mut last = Lines::keeping(lines);
        while let Some(piece) = engine.next(Operation::Logs, &what, LOOK, &mut stream).await {
            last.push(&piece?);
        }
        Ok(last.finish())
    };
    tokio::time::timeout(LIMIT, read).await.unwrap_or_else(|_| Err(Failure::timed_out(&what, LIMIT)))
}

/// Pieces of two streams, put together to lines.
struct Lines {
    keep: usize,
    done: VecDeque<String>,
    /// The unfinished line of stdout and of stderr: the engine cuts long lines into pieces.
    open: [Vec<u8>; 2],
}

impl Lines {
    fn keeping(keep: usize) -> Self {
        Self { keep, done: VecDeque::new(), open: [Vec::new(), Vec::new()] }
    }

    fn push(&mut self, piece: &LogOutput) {
        let stream = usize::from(matches!(piece, LogOutput::StdErr { .. }));
        for part in piece.as_ref().split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let open = &mut self.open[stream];
            open.extend_from_slice(&text[..text.len().min(LINE_LIMIT.saturating_sub(open.len()))]);
            if ends {
                self.close(stream);
            }
        }
    }

    fn close(&mut self, stream: usize) {
        let line = std::mem::take(&mut self.open[stream]);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.done.push_back(String::from_utf8_lossy(line).into_owned());
        if self.done.len() > self.keep {
            self.done.pop_front();
        }
    }

    fn finish(mut self) -> Vec<String> {
        for stream in 0..self.open.len() {
            if !self.open[stream].is_empty() {
                self.close(stream);
            }
        }
        self.done.into()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn out(text: &'static [u8]) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from_static(text) }
    }

    fn err(text: &'static [u8]) -> LogOutput {
        LogOutput::StdErr { message: Bytes::from_static(text) }
    }

    #[test]
    fn streams_are_put_together_by_line() {
        let mut lines = Lines::keeping(10);
        for piece in [out(b"a "), err(b"warn\r\n"), out(b"b\nbad \xff"), err(b"end")] {
            lines.push(&piece);
        }
        assert_eq!(lines.finish(), ["warn", "a b", "bad \u{fffd}", "end"]);
    }

    #[test]
    fn only_the_last_lines_stay_and_long_ones_are_cut() {
        let mut lines = Lines::keeping(2);
        lines.push(&out(b"1\n2\n"));
        for _ in 0..3 {
            lines.push(&LogOutput::StdOut { message: Bytes::from(vec![b'x'; 3000]) });
        }
        let last = lines.finish();
        assert_eq!(last[0], "2");
        assert_eq!(last[1].len(), LINE_LIMIT);
    }
}
