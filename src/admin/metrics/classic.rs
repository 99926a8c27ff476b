//! From `OpenMetrics` to the text format before it, which `promtool check metrics` and simpler scrapers read.
//!
//! The samples are the same. There a counter's family is called as its samples are, and neither units nor the
//! end are said.

/// The same figures in the older format.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), about) => help = about.unwrap_or_default(),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            (Some("#"), ..) => {}
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_called_as_its_samples_are() {
        let openmetrics = "# HELP a_calls Calls of a # b.\n# TYPE a_calls counter\na_calls_total{by=\"# c\"} 4\n\
                           # HELP a_time_seconds Time.\n# TYPE a_time_seconds gauge\n# UNIT a_time_seconds seconds\n\
                           a_time_seconds 0.5\n# EOF\n";
        let expected = "# HELP a_calls_total Calls of a # b.\n# TYPE a_calls_total counter\na_calls_total{by=\"# c\"} 4\n\
                        # HELP a_time_seconds Time.\n# TYPE a_time_seconds gauge\na_time_seconds 0.5\n";
        assert_eq!(classic(openmetrics), expected);
    }
}
