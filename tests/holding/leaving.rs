//! Clients that leave while they are held.

use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::{held, proxy};

const GET: &str = "GET /left HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n";

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Close,
    Reset,
}

#[tokio::test]
async fn a_client_that_leaves_is_in_nobodys_way() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "max_concurrency: 1").await;
    let address = proxy.address();
    let first = Wire::sent(address, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    held(&proxy, 1).await;
    let partly = format!("{POST}{}", "x".repeat(1000));
    let large = format!("{POST}{}", "x".repeat(100_000));
    let short = "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nall".to_owned();
    let chunked =
        "POST /left HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n".to_owned();
    let pipelined = format!("{GET}{GET}");
    for request in [GET.to_owned(), POST.to_owned(), partly, large, short, chunked, pipelined] {
        for farewell in [Farewell::Close, Farewell::Reset] {
            let wire = Wire::sent(address, &request).await;
            held(&proxy, 2).await;
            match farewell {
                Farewell::Close => drop(wire),
                Farewell::Reset => wire.reset(),
            }
            let left = format!("{farewell:?} after {:?}", &request[..request.len().min(100)]);
            // At once, and not because its turn or its time has come: the replica is not there yet.
            wait_for_async(format!("one is held: {left}"), || async {
                let app = proxy.only_app().await;
                assert_eq!(app["ready"], 0, "held until the replica was there: {left}");
                (app["held"] == 1).then_some(())
            })
            .await;
        }
    }
    proxy.tell("go");
    let mut first = first;
    assert_eq!(first.reply().await.status(), 404, "who stayed is served");
    let report = proxy.report();
    assert_eq!(report.events("start").len(), 1, "nothing of theirs reached the replica");
}

#[tokio::test]
async fn an_upload_that_goes_on_while_it_is_held_is_not_taken_for_a_farewell() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "").await;
    let mut wire =
        Wire::sent(proxy.address(), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n").await;
    held(&proxy, 1).await;
    for _ in 0..60 {
        wire.send("y".repeat(1000)).await;
        tokio::task::yield_now().await;
    }
    held(&proxy, 1).await;
    proxy.tell("go");
    assert_eq!(wire.reply().await.body.len(), 60_000);
}
