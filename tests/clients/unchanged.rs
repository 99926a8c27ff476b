//! "Unchanged": one program, once against the test app itself and once through the proxy, finds the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::program::{found, words};
use crate::support::app::{self, Running};

/// Runs a program, which is given a URL as its last argument, both ways. What it found must be the same but for what
/// the proxy tells the app of the client, which is checked and taken off. Gives back what both have found.
pub(crate) async fn found_both_ways(program: &[String]) -> Value {
    let direct = Running::start(&[]);
    let mut expected = found_at(program, direct.address().await).await;
    assert!(take_per_hop(&mut expected).is_empty(), "nobody has forwarded it");
    let proxy = crate::proxy(&words(&[&app::binary().display().to_string()]), "").await;
    let mut actual = found_at(program, proxy.address()).await;
    let told = take_per_hop(&mut actual);
    assert_eq!(actual, expected, "through the proxy, and without it");
    assert!(!told.is_empty(), "no request showed its headers: {actual}");
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST).to_string();
    let [by, to] = [json!(["x-forwarded-for", client]), json!(["x-forwarded-proto", "http"])];
    for headers in told {
        assert_eq!(headers, [by.clone(), json!(["x-forwarded-host", "HOST"]), to.clone()]);
    }
    crate::over(&proxy).await;
    actual
}

/// The addresses of the two differ, and that is meant to show.
async fn found_at(program: &[String], address: SocketAddr) -> Value {
    let mut program = program.to_owned();
    program.push(format!("http://{address}"));
    let found = found(&program).await.to_string();
    let found = found.replace(&address.to_string(), "HOST").replace(&address.port().to_string(), "PORT");
    serde_json::from_str(&found).expect("still JSON")
}

/// Takes what is one hop's alone off every request that shows its headers, and gives back what a proxy has told of the
/// client, for each request where one has. What is left is put in order: only among headers of one name does it count.
fn take_per_hop(found: &mut Value) -> Vec<Vec<Value>> {
    let mut told = Vec::new();
    match found {
        Value::Array(items) => told.extend(items.iter_mut().flat_map(take_per_hop)),
        Value::Object(items) => {
            told.extend(items.values_mut().flat_map(take_per_hop));
            if items.contains_key("uri")
                && let Some(Value::Array(headers)) = items.get_mut("headers")
            {
                headers.retain(|header| header[0] != "connection" && header[0] != "via");
                headers.sort_by_key(|header| header[0].to_string());
                let forwarded =
                    |header: &mut Value| header[0].as_str().is_some_and(|it| it.starts_with("x-forwarded-"));
                let forwarded: Vec<Value> = headers.extract_if(.., forwarded).collect();
                items.remove("replica");
                told.extend((!forwarded.is_empty()).then_some(forwarded));
            }
        }
        _ => {}
    }
    told
}
