//! What a load has seen: how long each exchange took, and how many failed.

use std::time::Duration;

#[derive(Default)]
pub struct Told {
    /// Microseconds.
    times: Vec<f64>,
    failed: usize,
    pub lasted: Duration,
}

impl Told {
    pub fn took(&mut self, time: Duration) {
        self.times.push(time.as_secs_f64() * 1e6);
    }

    pub fn failed(&mut self) {
        self.failed += 1;
    }

    pub fn join(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
        self.lasted = self.lasted.max(other.lasted);
    }

    pub fn json(mut self) -> String {
        self.times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = (share * self.times.len() as f64).ceil() as usize;
            self.times.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        format!(
            r#"{{"requests":{},"errors":{},"seconds":{:.6},"p50":{:.1},"p99":{:.1},"p999":{:.1}}}"#,
            self.times.len(),
            self.failed,
            self.lasted.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
        )
    }
}
