//! gRPC with grpcio on both sides, from zero.

use serde_json::{Value, json};

use crate::program::{found, python};
use crate::secured::Secured;

async fn called(args: &[&str]) -> Value {
    found(&python("grpc_client.py", args)).await
}

/// What a client finds, whatever is between the two.
fn expected() -> Value {
    json!({
        "unary": "Hello, ü",
        "metadata": {"leading": "seen x-one=1", "trailing": "bye", "binary": "00ff"},
        "client_stream": 1000,
        "server_stream": 1000,
        "bidi": ["0", "1", "2", "3", "4"],
        "large": true,
        "failed": ["FAILED_PRECONDITION", "not today: 100%, ü", "late"],
        "unknown": "UNIMPLEMENTED",
        "deadline": "DEADLINE_EXCEEDED",
        "cancelled": true,
        "at_once": 100,
    })
}

#[tokio::test]
async fn the_four_kinds_of_calls_come_through() {
    let proxy = crate::proxy(&python("grpc_app.py", &[]), "").await;
    assert_eq!(called(&[&proxy.address().to_string()]).await, expected());
    crate::over(&proxy).await;
}

#[tokio::test]
async fn they_come_through_over_tls() {
    let secured = Secured::start(&python("grpc_app.py", &[]), "").await;
    let address = format!("localhost:{}", secured.address().port());
    assert_eq!(called(&[&secured.authority, &address]).await, expected());
}

/// A server that cannot start is no HTTP status to a caller, but one of gRPC's own, with the reason.
#[tokio::test]
async fn a_caller_is_told_in_its_own_terms_that_nobody_is_there() {
    let proxy = crate::proxy(&python("grpc_app.py", &["--fail"]), "").await;
    let found = found(&python("grpc_lonely.py", &[&proxy.address().to_string()])).await;
    assert_eq!(found["code"], "UNAVAILABLE");
    assert!(found["details"].as_str().is_some_and(|it| it.starts_with("start-failed")), "{found}");
}
