//! An app in trouble, as each of those sees it who has to do with it: its visitors, and whoever runs the proxy.

use crate::support::http::get;
use crate::support::proxy::Proxy;
use crate::support::wait::{wait_for, wait_for_async};

/// What visitors of the only app are told, what `/api/apps` says, and the first line of the log that is more than news.
pub(crate) async fn told(proxy: &Proxy) -> String {
    // Between two attempts there is no trouble for a moment.
    let (visitors, reason) = wait_for_async("visitors and operators are told the same", || async {
        let answer = get(proxy.address(), "/").await;
        let visitors = answer.reason().to_owned();
        let reason = reason(proxy).await;
        visitors.contains(reason.lines().next()?).then_some((visitors, reason))
    })
    .await;
    format!(
        "A visitor is told:\n{visitors}\n\n/api/apps says:\n{reason}\n\nThe log says:\n{}",
        logged(proxy).await
    )
}

/// The only app's `reason`.
pub(crate) async fn reason(proxy: &Proxy) -> String {
    let app = proxy.only_app().await;
    app["reason"].as_str().expect("it always has one").to_owned()
}

/// The first entry of the log that is a warning or an error, without its time.
pub(crate) async fn logged(proxy: &Proxy) -> String {
    wait_for("the log has a warning or an error", || troubles(&proxy.log()).into_iter().next()).await
}

/// All such entries.
pub(crate) fn troubles(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.split_inclusive('\n') {
        match (line.split_once(' '), entries.last_mut()) {
            (Some((time, entry)), _) if is_time(time) => entries.push(entry.trim_start().to_owned()),
            (_, Some(entry)) => *entry += line,
            (_, None) => {}
        }
    }
    entries.retain(|entry| entry.starts_with("WARN ") || entry.starts_with("ERROR "));
    entries
}

fn is_time(word: &str) -> bool {
    word.ends_with('Z') && word.starts_with(|c: char| c.is_ascii_digit())
}
