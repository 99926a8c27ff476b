//! Durations and sizes as people write them, both ways.
//!
//! Owns the notation alone; which range a key allows is said where the key is.

use std::time::Duration;

/// Nanoseconds of each unit, the longest first. No suffix means seconds.
const TIME_UNITS: &[(&str, u128)] =
    &[("ms", 1_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];

/// Decimal digits that are read after the point: as many as a second has nanoseconds.
const FRACTION_DIGITS: usize = 9;

/// `90`, `1.5`, `500ms`, `90s`, `5m`, `1h`; exact to the nanosecond.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = TIME_UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1_000_000_000));
    let nanos = scaled(number.trim_end(), unit)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanos % 1_000_000_000).expect("a remainder of a billion fits");
    Some(Duration::new(seconds, rest))
}

/// The shortest notation that reads back as the same duration.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (suffix, unit) in [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)] {
        if nanos >= unit && nanos.is_multiple_of(unit) {
            return format!("{}{suffix}", nanos / unit);
        }
    }
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (whole, fraction) = (nanos / 1_000_000, nanos % 1_000_000);
    if fraction == 0 {
        return format!("{whole}ms");
    }
    format!("{whole}.{}ms", format!("{fraction:06}").trim_end_matches('0'))
}

/// `512M`, `2G`, `1Gi`, `1.5GB`, plain bytes. As in Docker, K, M, G and T are powers of 1024, with or without the `i`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return None,
    };
    u64::try_from(scaled(number.trim_end(), 1 << unit)?).ok()
}

/// `512 MiB`, `1.5 GiB`: for people.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            let number = format!("{:.1}", bytes as f64 / f64::from(1_u32 << 10).powi(shift / 10));
            return format!("{} {unit}", number.trim_end_matches(".0"));
        }
    }
    format!("{bytes} bytes")
}

/// A decimal number times a unit, rounded down.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 18 {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole.parse::<u128>().ok()? * unit + fraction.parse::<u128>().ok()? * unit / tenths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("1.5"), Some(1500));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("90s"), Some(90_000));
        assert_eq!(ms("5m"), Some(300_000));
        assert_eq!(ms("1h"), Some(3_600_000));
        assert_eq!(ms("1.5 h"), Some(5_400_000));
        for wrong in [
            "",
            "s",
            "-1",
            "1d",
            "1h30m",
            "5 minutes",
            "1e3",
            ".5",
            "1.",
            "1.5.5",
            "٣s",
            "9999999999999999999",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(parse_size("512M"), Some(512 << 20));
        assert_eq!(parse_size("2G"), Some(2 << 30));
        assert_eq!(parse_size("1Gi"), Some(1 << 30));
        assert_eq!(parse_size("1.5gb"), Some(3 << 29));
        assert_eq!(parse_size("1048576"), Some(1 << 20));
        for wrong in ["", "G", "-1G", "1X", "1 Giga", "1e9", "99999999999999T"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        assert_eq!(format_size(3 << 29), "1.5 GiB");
        assert_eq!(format_size(2 << 30), "2 GiB");
        assert_eq!(format_size(100), "100 bytes");
    }

    proptest! {
        #[test]
        fn durations_read_back_as_they_were(seconds in 0..1_000_000_000_u64, nanos in 0..1_000_000_000_u32, coarse in 0..4) {
            let nanos = match coarse { 0 => 0, 1 => nanos / 1_000_000 * 1_000_000, _ => nanos };
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
