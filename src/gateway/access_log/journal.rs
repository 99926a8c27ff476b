//! One worker's part of the log: its lines until they are written, and the entries of what is under way.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{StatusCode, request};

use crate::config::spec::AccessFormat;
use crate::gateway::access_log::entry::Entry;
use crate::gateway::access_log::stamp::Stamp;
use crate::gateway::access_log::writer::AccessLog;

/// Bytes that are worth a write.
const FULL: usize = 32 * 1024;

/// How long a line may wait for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// Entries that are kept for the next requests, and how large they may be.
const SPARE: usize = 256;
const SPARE_BYTES: usize = 2048;

/// One worker's part of the log.
#[derive(Debug)]
pub struct Journal {
    log: AccessLog,
    format: AccessFormat,
    stamp: RefCell<Stamp>,
    lines: RefCell<Lines>,
    #[expect(clippy::vec_box, reason = "an exchange has a pointer to its entry, and gives that back")]
    spare: RefCell<Vec<Box<Entry>>>,
    /// Somebody will hand on what is there.
    awaited: Cell<bool>,
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Journal {
    /// One without lines.
    #[must_use]
    pub fn new(log: AccessLog) -> Rc<Self> {
        let format = log.format();
        Rc::new(Self {
            log,
            format,
            stamp: RefCell::new(Stamp::new(format)),
            lines: RefCell::default(),
            spare: RefCell::default(),
            awaited: Cell::new(false),
        })
    }

    /// How lines look.
    #[must_use]
    pub fn format(&self) -> AccessFormat {
        self.format
    }

    /// A request begins.
    #[must_use]
    pub fn begin(&self, client: IpAddr, head: &request::Parts) -> Box<Entry> {
        let mut entry = self.entry();
        entry.begin(self.format, client, head);
        entry
    }

    /// A request could not be read, and was refused.
    pub fn note_unread(self: &Rc<Self>, client: IpAddr, status: StatusCode, why: &'static str) {
        let mut entry = self.entry();
        entry.begin_unread(self.format, client);
        entry.because(why);
        self.end(entry, Some(status), Duration::ZERO);
    }

    #[expect(clippy::unnecessary_box_returns, reason = "as above")]
    fn entry(&self) -> Box<Entry> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Box::new(Entry::blank()))
    }

    /// A request has ended, after so long. `status`: of its answer, where one had begun.
    pub fn end(self: &Rc<Self>, entry: Box<Entry>, status: Option<StatusCode>, took: Duration) {
        if !self.awaited.replace(true) {
            self.stamp.borrow_mut().set();
            tokio::task::spawn_local(Rc::clone(self).hand_on());
        }
        let full = {
            let lines = &mut *self.lines.borrow_mut();
            entry.finish(self.format, &mut self.stamp.borrow_mut(), status, took, &mut lines.text);
            lines.count += 1;
            lines.text.len() >= FULL
        };
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && entry.capacity() <= SPARE_BYTES {
            spare.push(entry);
        }
        drop(spare);
        if full {
            self.flush();
        }
    }

    /// Hands on what is there after a while.
    async fn hand_on(self: Rc<Self>) {
        tokio::time::sleep(PATIENCE).await;
        self.awaited.set(false);
        self.flush();
    }

    fn flush(&self) {
        let lines = &mut *self.lines.borrow_mut();
        if lines.count > 0 {
            // Room for the line that makes it full, so that it does not grow for that.
            let text = std::mem::replace(&mut lines.text, Vec::with_capacity(FULL + FULL / 8));
            self.log.write(text, std::mem::take(&mut lines.count));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}
