//! The time of day in the words of a log. Whatever belongs to a second is put into words once in it.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::app::clock::{self, Millis};
use crate::config::spec::AccessFormat;

/// The time of day, by the worker's clock.
#[derive(Debug)]
pub(super) struct Stamp {
    format: AccessFormat,
    /// Since the Unix epoch, when the worker's clock began.
    epoch: Duration,
    /// The second of which `text` tells, since the epoch.
    second: u64,
    text: String,
}

impl Stamp {
    pub(super) fn new(format: AccessFormat) -> Self {
        let mut stamp = Self { format, epoch: Duration::ZERO, second: u64::MAX, text: String::new() };
        stamp.set();
        stamp
    }

    /// Sets it by the host's clock, which may have been put forward or back.
    #[expect(clippy::disallowed_methods, reason = "shown to people, and nothing is decided by it")]
    pub(super) fn set(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.epoch = now.saturating_sub(clock::coarse().since(Millis(0)));
    }

    /// Appends the time, such as `26/Nov/2026:02:16:27 +0000` or `2026-11-26T02:16:27.042Z`.
    pub(super) fn write(&mut self, into: &mut Vec<u8>) {
        let now = self.epoch + clock::coarse().since(Millis(0));
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.text = text(self.format, self.second);
        }
        into.extend_from_slice(self.text.as_bytes());
        if self.format == AccessFormat::Json {
            let millis = now.subsec_millis();
            let digit = |unit: u32| b'0' + u8::try_from(millis / unit % 10).expect("one digit");
            into.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
        }
    }
}

/// A second since the epoch; that of JSON lacks its fraction.
fn text(format: AccessFormat, second: u64) -> String {
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
    match format {
        AccessFormat::Combined => {
            let month = month.to_string();
            format!("{day:02}/{month:.3}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
        }
        AccessFormat::Json => {
            format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_in_words() {
        for (second, combined, json) in [
            (0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00"),
            (951_782_399, "28/Feb/2000:23:59:59 +0000", "2000-02-28T23:59:59"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00"),
            (1_795_659_387, "26/Nov/2026:02:16:27 +0000", "2026-11-26T02:16:27"),
        ] {
            assert_eq!(text(AccessFormat::Combined, second), combined);
            assert_eq!(text(AccessFormat::Json, second), json);
        }
    }

    #[test]
    fn the_stamp_is_the_hosts_time() {
        let mut written = Vec::new();
        let before = OffsetDateTime::now_utc().unix_timestamp();
        Stamp::new(AccessFormat::Json).write(&mut written);
        let after = OffsetDateTime::now_utc().unix_timestamp();
        let written = String::from_utf8(written).unwrap();
        // The worker's clock may be a moment behind.
        let expected = (before - 1..=after + 1).map(|at| text(AccessFormat::Json, at.cast_unsigned()));
        let (second, fraction) = written.split_once('.').unwrap();
        assert!(expected.into_iter().any(|text| text == second), "{written}");
        assert!(fraction.len() == 4 && fraction.ends_with('Z'), "{written}");
    }
}
