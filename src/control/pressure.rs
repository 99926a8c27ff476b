//! Whether the host runs short of memory. Only looks: who has to give up what he holds is for the control plane to say.

use std::time::Duration;

/// How often it is to be looked.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// Memory is short where less than one part in so many is available.
const PARTS: u64 = 10;

/// Where the kernel says so, `proc_meminfo(5)`.
const MEMINFO: &str = "/proc/meminfo";

/// Whether it is short now; not where the kernel does not say.
pub(super) fn is_short_now() -> bool {
    // A file of the kernel's own: it waits for no disk.
    std::fs::read_to_string(MEMINFO).is_ok_and(|text| is_short(&text))
}

fn is_short(meminfo: &str) -> bool {
    let kib = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    kib("MemTotal").zip(kib("MemAvailable")).is_some_and(|(all, available)| available < all / PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_enough() {
        let meminfo = |available: u64| {
            format!(
                "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:   {available} kB\n"
            )
        };
        assert!(is_short(&meminfo(1_500_000)));
        assert!(!is_short(&meminfo(1_700_000)));
        assert!(!is_short("MemTotal: 16000000 kB\n") && !is_short(""), "nobody knows");
    }
}
