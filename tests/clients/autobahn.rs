//! Autobahn's WebSocket suite: it speaks the protocol well and badly, and the server's every reaction is judged. Through
//! the proxy each must be the one that it is without.

use crate::program::{found, python};

#[tokio::test]
async fn a_server_does_in_each_case_what_it_does_without_a_proxy() {
    let proxy = crate::proxy(&python("autobahn_app.py", &[]), "").await;
    let [direct, through] =
        [&[][..], &[&*format!("ws://{}", proxy.address())]].map(|url| python("autobahn_suite.py", url));
    let (direct, through) = tokio::join!(found(&direct), found(&through));
    let [direct, through] = [&direct, &through].map(|found| found.as_object().expect("cases by their names"));
    assert!(direct.len() > 250, "{} cases", direct.len());
    for (case, outcome) in direct {
        // A server that fails without a proxy says nothing of one.
        assert!(
            outcome[0] == "OK" || outcome[0] == "INFORMATIONAL",
            "case {case}, without a proxy: {outcome}"
        );
        assert_eq!(through.get(case), Some(outcome), "case {case}");
    }
    assert_eq!(through.len(), direct.len());
    crate::over(&proxy).await;
}
