//! `boost`: cores that a replica may use while it starts, beyond its instance's. Owns the notation of its end.

use std::time::Duration;

use super::reader::Reader;
use super::schema::BoostFile;
use super::spec::{BoostSpec, RuntimeKind};
use super::table::Value;
use super::tree::Node;
use super::units::parse_duration;
use super::value::{Number, scalar};

/// How much longer than until it is ready a replica keeps its boost, where the file does not say: what apps do with
/// their first requests is part of their start.
const AFTER: Duration = Duration::from_secs(5);

/// `ready`, or `ready+5s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until(Duration);

impl Value for Until {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let rest = scalar(node).and_then(|(text, _)| text.trim().strip_prefix("ready")).map(str::trim);
        let after = match rest {
            Some("") => Some(Duration::ZERO),
            Some(rest) => rest.strip_prefix('+').and_then(|time| parse_duration(time.trim())),
            None => None,
        };
        let after = after.filter(|after| *after <= Duration::from_hours(1));
        if after.is_none() {
            let help = "write `ready`, or `ready+5s` for five seconds more, up to an hour";
            reader.wrong_kind(node, "how long the boost lasts", help);
        }
        after.map(Self)
    }
}

/// The boost as run. A process has no limit that could be raised.
pub(crate) fn resolve(file: BoostFile, runtime: RuntimeKind) -> BoostSpec {
    // The key's range keeps it inside.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let millis = |Number(cores): Number<0, 1_024_000, false>| (cores * 1000.0).round() as u32;
    let cpu_millis = if runtime == RuntimeKind::Docker { millis(file.cpu.or(Number(2.0))) } else { 0 };
    BoostSpec { cpu_millis, after_ready: file.until.or(Until(AFTER)).0 }
}
