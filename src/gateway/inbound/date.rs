//! The `Date` of an answer, put into words once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::app::clock::{self, Millis};

thread_local! {
    static FIELD: RefCell<Field> = const { RefCell::new(Field { until: Millis(0), text: String::new() }) };
}

struct Field {
    /// When another second has begun.
    until: Millis,
    text: String,
}

/// Writes the field.
pub(super) fn write(out: &mut Vec<u8>) {
    FIELD.with_borrow_mut(|field| {
        if clock::coarse() >= field.until {
            field.renew();
        }
        out.extend_from_slice(field.text.as_bytes());
    });
}

impl Field {
    /// Looks at the host's clock, which may have been put forward or back.
    #[expect(clippy::disallowed_methods, reason = "shown to clients, and nothing is decided by it")]
    fn renew(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
        self.until = clock::coarse().after(Duration::from_millis(1000 - u64::from(second)));
        self.text = format!("date: {}\r\n", httpdate::fmt_http_date(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what is shown is held against it")]
    fn it_is_the_time_of_day() {
        let mut out = Vec::new();
        let before = SystemTime::now() - Duration::from_secs(2);
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        let date = text.strip_prefix("date: ").and_then(|text| text.strip_suffix("\r\n")).unwrap();
        assert!(httpdate::parse_http_date(date).unwrap() > before, "{text}");
    }
}
