//! What a line says of an exchange, in both formats.

use std::fs;
use std::time::UNIX_EPOCH;

use serde_json::json;
use time::OffsetDateTime;

use crate::support::h2::H2;
use crate::support::http::{Call, get};
use crate::support::proxy::Proxy;
use crate::support::wire::Wire;
use crate::{COMBINED, JSON, LOG, entry, line, pick, proxy};

/// The parts of a line; what stands in quotes or brackets is one.
fn parts(line: &str) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), line);
    while let Some(first) = rest.chars().next() {
        let (skip, end) = match first {
            '"' => (1, '"'),
            '[' => (1, ']'),
            _ => (0, ' '),
        };
        let (part, after) = rest[skip..].split_once(end).unwrap_or((&rest[skip..], ""));
        parts.push(part);
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    parts
}

/// Every second in which a line may have been written: from when `jcloud.yml` was to when the log was.
fn moments(proxy: &Proxy) -> Vec<OffsetDateTime> {
    let written = |name: &str| {
        let file = fs::metadata(proxy.dir().join(name)).expect("it is there");
        let since = file.modified().expect("files have times").duration_since(UNIX_EPOCH);
        since.expect("a clock past 1970").as_secs().cast_signed()
    };
    // The clocks that are read for a file and for a line may be a tick apart.
    let all = written("jcloud.yml") - 1..=written(LOG) + 1;
    all.map(|second| OffsetDateTime::from_unix_timestamp(second).expect("a date")).collect()
}

/// A request with everything that a line tells of.
fn telling(proxy: &Proxy) -> Call {
    let call = Call::get(proxy.address(), "/sleep?ms=50&q=%22").host("a.test:81");
    call.header("referer", "http://b.test/from").header("user-agent", "agent \"1\"")
}

#[tokio::test]
async fn combined_is_what_web_servers_write_and_a_little_more() {
    let proxy = proxy(&[], COMBINED).await;
    assert_eq!(get(proxy.address(), "/id?cold").await.status, 200);
    assert_eq!(telling(&proxy).send().await.unwrap().text(), "slept\n");
    let line = line(&proxy, "/sleep").await;
    let said = parts(&line);
    assert_eq!(said[..3], ["127.0.0.1", "-", "-"], "{line}");
    let spoken = |at: &OffsetDateTime| {
        let (day, month, year) = (at.day(), at.month().to_string(), at.year());
        let (hour, minute, second) = at.to_hms();
        format!("{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000", &month[..3])
    };
    assert!(moments(&proxy).iter().any(|at| spoken(at) == said[3]), "{line}");
    assert_eq!(
        said[4..11],
        [
            "GET /sleep?ms=50&q=%22 HTTP/1.1",
            "200",
            "6",
            "http://b.test/from",
            r"agent \x221\x22",
            "a.test:81",
            "app",
        ],
        "{line}"
    );
    assert!(said[11].parse::<f64>().unwrap() >= 0.05, "it took its time: {line}");
    assert_eq!(said[12..], ["0.000000", "-"], "it was not held, and nothing went wrong: {line}");
}

#[tokio::test]
async fn what_combined_knows_nothing_of_is_a_dash() {
    let proxy = proxy(&[], COMBINED).await;
    assert_eq!(get(proxy.address(), "/bytes?n=3").await.status, 200);
    let line = line(&proxy, "/bytes").await;
    let said = parts(&line);
    assert_eq!(said.len(), 14, "{line}");
    let request = "GET /bytes?n=3 HTTP/1.1";
    assert_eq!(said[4..11], [request, "200", "3", "-", "-", "localhost", "app"], "{line}");
    let [took, held] = [said[11], said[12]].map(|seconds| seconds.parse::<f64>().unwrap());
    assert!(took >= held && held > 0.0, "it had to wait for a replica: {line}");
}

#[tokio::test]
async fn json_says_the_same() {
    let proxy = proxy(&[], JSON).await;
    assert_eq!(get(proxy.address(), "/id?cold").await.status, 200);
    assert_eq!(telling(&proxy).send().await.unwrap().text(), "slept\n");
    let mut said = entry(&proxy, "/sleep").await;
    let (time, took) = (said["time"].take(), said["seconds"].take());
    assert_eq!(
        said,
        json!({
            "time": null,
            "client": "127.0.0.1",
            "method": "GET",
            "target": "/sleep?ms=50&q=%22",
            "protocol": "HTTP/1.1",
            "host": "a.test:81",
            "referer": "http://b.test/from",
            "user_agent": "agent \"1\"",
            "app": "app",
            "status": 200,
            "bytes": 6,
            "seconds": null,
            "held": 0.0,
        })
    );
    assert!(took.as_f64() >= Some(0.05), "it took its time: {took}");
    let (second, fraction) = time.as_str().and_then(|time| time.split_once('.')).expect("a time");
    assert!(fraction.len() == 4 && fraction.ends_with('Z'), "{time}");
    let spoken = |at: &OffsetDateTime| {
        let (day, month, year) = (at.day(), u8::from(at.month()), at.year());
        let (hour, minute, moment) = at.to_hms();
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{moment:02}")
    };
    assert!(moments(&proxy).iter().any(|at| spoken(at) == second), "{time}");
}

#[tokio::test]
async fn json_leaves_out_what_it_knows_nothing_of() {
    let proxy = proxy(&[("START_DELAY_MS", "300")], JSON).await;
    assert_eq!(get(proxy.address(), "/bytes?n=3").await.status, 200);
    let said = entry(&proxy, "/bytes").await;
    let mut keys: Vec<_> = said.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    let known = "app bytes client held host method protocol seconds status target time";
    assert_eq!(keys.join(" "), known);
    let [took, held] = ["seconds", "held"].map(|key| said[key].as_f64().expect("a number"));
    assert!(held >= 0.3, "it had to wait for a replica: {said}");
    assert!(took >= held, "{said}");
}

#[tokio::test]
async fn http2_is_called_by_its_name() {
    let proxy = proxy(&[], JSON).await;
    let client = H2::clear(&proxy).await;
    assert_eq!(client.get("/bytes?n=100000").await.body.len(), 100_000);
    let said = entry(&proxy, "/bytes").await;
    let told = pick(&said, &["method", "target", "protocol", "host", "status", "bytes", "app"]);
    assert_eq!(told, json!(["GET", "/bytes?n=100000", "HTTP/2.0", "localhost", 200, 100_000, "app"]));
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_that_ones_client() {
    for (keys, client) in [("", "127.0.0.1"), ("trusted_proxies: 127.0.0.1", "198.51.100.7")] {
        let proxy = proxy(&[], &format!("{JSON}\n{keys}")).await;
        let call = Call::get(proxy.address(), "/id").header("x-forwarded-for", "198.51.100.7");
        assert_eq!(call.send().await.unwrap().status, 200);
        assert_eq!(entry(&proxy, "/id").await["client"], client);
    }
}

#[tokio::test]
async fn a_switch_has_its_line_when_it_is_made() {
    let proxy = proxy(&[], JSON).await;
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    let said = entry(&proxy, "/upgrade").await;
    assert_eq!(pick(&said, &["status", "bytes", "app", "why"]), json!([101, 0, "app", null]));
    wire.send("x").await;
    assert_eq!(wire.take(1).await, b"x", "it is open still");
}
