//! Who writes the log down: a thread, and the queue before it. Owns the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use memchr::memchr_iter;

use crate::config::spec::{AccessFormat, AccessLogSpec, AccessTarget};

/// Writes that wait for their turn, of some 32 KB each, beside one that each worker may have at its end.
const QUEUE: usize = 64;

/// Who may read the file: its owner and his group, since it tells who has asked for what.
const MODE: u32 = 0o640;

/// The way to who writes the log.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: SyncSender<Order>,
    format: AccessFormat,
    shared: Arc<Shared>,
}

/// The thread that writes, until it is told that nothing more comes.
pub type Writing = JoinHandle<()>;

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    reopen: AtomicBool,
    /// The last write has found no place in the queue.
    late: AtomicBool,
}

enum Order {
    Write {
        text: Vec<u8>,
        lines: u64,
    },
    /// See whether the file is to be opened again.
    Look,
    /// Nothing more comes.
    Close,
}

impl AccessLog {
    /// Opens the log of so many workers.
    ///
    /// # Errors
    /// The system's, where the file cannot be written.
    pub fn open(spec: &AccessLogSpec, workers: usize) -> io::Result<(Self, Writing)> {
        let target = Target::open(&spec.target)?;
        let (queue, inbox) = sync_channel(QUEUE + workers);
        let shared = Arc::<Shared>::default();
        let writer = Writer { target, shared: Arc::clone(&shared), failing: false, torn: false };
        let writing =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(|| writer.run(inbox))?;
        Ok((Self { queue, format: spec.format, shared }, writing))
    }

    /// How lines look.
    #[must_use]
    pub fn format(&self) -> AccessFormat {
        self.format
    }

    /// Lines that were not written, since the file could not take them, or not in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file again, which somebody may have moved away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
        // Where the queue is full, who writes looks at the next one anyway.
        let _busy = self.queue.try_send(Order::Look);
    }

    /// Ends who writes, when all that was handed on before is written. Blocks where that takes long.
    pub fn close(self) {
        let _gone = self.queue.send(Order::Close);
    }

    /// Whole lines to be written, in the order in which they are given.
    pub(super) fn write(&self, text: Vec<u8>, lines: u64) {
        let late = self.queue.try_send(Order::Write { text, lines }).is_err();
        if late {
            self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
        }
        if late && !self.shared.late.swap(late, Ordering::Relaxed) {
            tracing::error!("the access log is written too slowly: lines are dropped until it has caught up");
        } else if !late {
            self.shared.late.store(false, Ordering::Relaxed);
        }
    }
}

/// Where lines go.
enum Target {
    Stdout(io::Stdout),
    File { file: File, path: Box<Path> },
}

impl Target {
    fn open(target: &AccessTarget) -> io::Result<Self> {
        Ok(match target {
            AccessTarget::Stdout => Self::Stdout(io::stdout()),
            AccessTarget::File(path) => Self::File { file: open(path)?, path: path.as_path().into() },
        })
    }

    /// Writes some of it; how much.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => {
                let count = stdout.write(text)?;
                stdout.flush()?;
                Ok(count)
            }
            Self::File { file, .. } => file.write(text),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

struct Writer {
    target: Target,
    shared: Arc<Shared>,
    /// The last write has failed.
    failing: bool,
    /// In the middle of a line.
    torn: bool,
}

impl Writer {
    #[expect(clippy::needless_pass_by_value, reason = "who writes is the one who reads the queue")]
    fn run(mut self, inbox: Receiver<Order>) {
        while let Ok(order) = inbox.recv() {
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            match order {
                Order::Write { text, lines } => self.write(&text, lines),
                Order::Look => {}
                Order::Close => return,
            }
        }
    }

    fn reopen(&mut self) {
        let Target::File { file, path } = &mut self.target else { return };
        match open(path) {
            Ok(new) => (*file, self.torn) = (new, false),
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "cannot open the access log again: it goes on in the file that was open");
            }
        }
    }

    fn write(&mut self, text: &[u8], lines: u64) {
        let start = if self.torn { self.write_all(b"\n") } else { (0, Ok(())) };
        let (written, done) = if start.1.is_ok() { self.write_all(text) } else { (0, start.1) };
        let Err(error) = done else {
            (self.failing, self.torn) = (false, false);
            return;
        };
        if let Some(last) = text[..written].last() {
            self.torn = *last != b'\n';
        }
        let whole = memchr_iter(b'\n', &text[..written]).count() as u64;
        self.shared.dropped.fetch_add(lines - whole, Ordering::Relaxed);
        // A full disk stays full for a while: the first one is for the operator.
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "cannot write the access log: lines are dropped until it can be written again");
        }
    }

    /// How much of it was written, and why no more.
    fn write_all(&mut self, text: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < text.len() {
            match self.target.write(&text[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}
