//! How many requests may be sent a second time: a fifth of those of late, so that an app in trouble is not given more
//! work because it is in trouble.
//!
//! Each worker keeps one for each app, as it does its counts. What may be sent again at all is the caller's business.

use std::cell::Cell;

use crate::app::clock::Millis;

/// Of so many requests one may be sent again.
const SHARE: u32 = 5;

/// So many may be in any case: of few requests a fifth is none.
const FLOOR: u32 = 10;

/// What counts as of late: the current stretch of this many milliseconds, and the one before.
const STRETCH: u64 = 10_000;

/// What one worker may repeat of one app's requests.
#[derive(Debug, Default)]
pub struct Budget {
    /// The current stretch's number.
    stretch: Cell<u64>,
    now: Cell<Counts>,
    before: Cell<Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u32,
    repeated: u32,
}

impl Budget {
    /// Counts a request.
    #[inline]
    pub fn request(&self, now: Millis) {
        self.turn(now);
        let Counts { requests, repeated } = self.now.get();
        self.now.set(Counts { requests: requests.saturating_add(1), repeated });
    }

    /// Whether one more may be sent again; it is taken for being sent.
    pub fn spend(&self, now: Millis) -> bool {
        self.turn(now);
        let (current, before) = (self.now.get(), self.before.get());
        let requests = current.requests.saturating_add(before.requests);
        let has_some = current.repeated + before.repeated < FLOOR + requests / SHARE;
        self.now.set(Counts { repeated: current.repeated + u32::from(has_some), ..current });
        has_some
    }

    fn turn(&self, now: Millis) {
        let stretch = now.0 / STRETCH;
        let last = self.stretch.get();
        // A worker's clock never goes back.
        if stretch > last {
            let before = if stretch == last + 1 { self.now.get() } else { Counts::default() };
            self.before.set(before);
            self.now.set(Counts::default());
            self.stretch.set(stretch);
        }
    }
}
