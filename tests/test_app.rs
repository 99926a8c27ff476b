//! The test app itself, and the tools that the other tests hold in their hands: a fault that is not made, or a
//! client that hides one, would let those tests pass for nothing.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use support::app::Running;
use support::docker::{self, Events, OwnContainer};
use support::http::{Call, Connection, Failure, get, raw};
use support::load;
use support::wait::{wait_for_async, wait_until};

const SILENCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn it_serves_hundreds_at_once_and_counts_them() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let (end, open) = watch::channel(());
    let uploads = tokio::spawn(load::at_once(500, move |_| {
        let mut open = open.clone();
        let last = async move {
            // Until nobody is at its other end any more.
            while open.changed().await.is_ok() {}
            Ok::<_, Failure>(Frame::data(Bytes::from("last")))
        };
        Call::post(address, "/slow-body", "").body(StreamBody::new(stream::once(last))).send()
    }));
    wait_until("all are open", || app.report().count("start") == 500).await;
    drop(end);
    let outcomes = uploads.await.unwrap();
    assert_eq!(outcomes.sent(), 500);
    outcomes.assert_all_ok();
    let stats = get(address, "/stats").await.json();
    assert_eq!((&stats["served"], &stats["open"]), (&500.into(), &0.into()));
    let most = app.report().events("start").iter().filter_map(|event| event["open"].as_u64()).max();
    assert_eq!(most, Some(500), "they were open together");
}

#[tokio::test]
async fn it_tells_what_it_was_asked_and_in_which_order() {
    let app = Running::start(&[]);
    let address = app.address().await;
    for seq in ["one", "two", "three"] {
        let call = Call::get(address, "/headers?x=1").host("shop.test").header("x-seq", seq);
        let said = call.send().await.unwrap().json();
        assert_eq!((&said["method"], &said["uri"]), (&"GET".into(), &"/headers?x=1".into()));
        assert!(said["headers"].as_array().unwrap().contains(&serde_json::json!(["host", "shop.test"])));
    }
    assert_eq!(app.report().order(), ["one", "two", "three"]);
    assert_eq!(get(address, "/stats").await.json()["order"], serde_json::json!(["one", "two", "three"]));
}

#[tokio::test]
async fn bodies_are_streamed_both_ways_with_their_trailers() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    let frames =
        [Frame::data(Bytes::from("one ")), Frame::data(Bytes::from("two")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Failure>)));
    let call =
        Call::post(address, "/echo", "").header("te", "trailers").header("trailer", "x-sum").body(body);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.text(), "one two");
    assert_eq!(answer.trailers.unwrap()["x-sum"], "42");

    let mut response = Call::get(address, "/stream?chunks=3&every_ms=200&size=5").open().await.unwrap();
    let start = Instant::now();
    let mut pieces = 0;
    while let Some(frame) = response.body_mut().frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap().len(), 5);
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    assert!(start.elapsed() >= Duration::from_millis(300), "they came one by one");
    assert_eq!(get(address, "/bytes?n=300000").await.body.len(), 300_000);
}

#[tokio::test]
async fn a_slow_body_is_read_to_its_end() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let pieces = stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        (sent < 5).then_some((Ok::<_, Failure>(Frame::data(Bytes::from("12345"))), sent + 1))
    });
    let answer = Call::post(address, "/slow-body", "").body(StreamBody::new(pieces)).send().await.unwrap();
    assert_eq!(answer.text(), "25\n");
}

#[tokio::test]
async fn a_websocket_is_an_open_request_until_it_closes() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/ws", stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(get(address, "/stats").await.json()["open"], 1);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    wait_until("the request is finished", || app.report().count("finish") == 1).await;
}

#[tokio::test]
async fn another_protocol_is_echoed_byte_by_byte() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let call = Call::get(address, "/upgrade").header("connection", "upgrade").header("upgrade", "echo");
    let response = call.open().await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"\x00\x01 bytes").await.unwrap();
    let mut back = [0; 8];
    io.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"\x00\x01 bytes");
}

#[tokio::test]
async fn faults_are_made_as_asked() {
    let app = Running::start(&[]);
    let address = app.address().await;
    let cut = raw(address, b"GET /die-mid-body?n=100 HTTP/1.1\r\nhost: a\r\n\r\n", SILENCE).await;
    assert!(cut.contains("content-length: 100\r\n"), "{cut}");
    assert_eq!(cut.split_once("\r\n\r\n").unwrap().1.len(), 50, "half of it: {cut}");
    let garbage = raw(address, b"GET /garbage HTTP/1.1\r\nhost: a\r\n\r\n", SILENCE).await;
    assert!(!garbage.is_empty() && !garbage.starts_with("HTTP"), "{garbage}");
    assert_eq!(get(address, "/status?code=503").await.status, 503);
    assert_eq!(app.report().count("abort"), 1);

    let app = Running::start(&[("MODE", "garbage")]);
    let garbage = raw(app.address().await, b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n", SILENCE).await;
    assert!(!garbage.is_empty() && !garbage.starts_with("HTTP"), "{garbage}");

    let app = Running::start(&[("MODE", "two-lengths")]);
    let twice = raw(app.address().await, b"GET /1 HTTP/1.1\r\n\r\n", SILENCE).await;
    assert!(twice.contains("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), "{twice}");
    assert!(twice.ends_with("\r\n\r\n1\r\n1\r\n0\r\n\r\n"), "{twice}");

    let app = Running::start(&[("NEVER_ANSWER", "1")]);
    assert_eq!(raw(app.address().await, b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n", SILENCE).await, "");
}

#[tokio::test]
async fn a_single_one_serves_one_connection_at_a_time() {
    let app = Running::start(&[("SINGLE", "1")]);
    let address = app.address().await;
    let mut first = Connection::open(address).await.unwrap();
    assert_eq!(first.send(Call::get(address, "/ping")).await.unwrap().status, 200);
    // It is idle and open, and the next has to wait for its end.
    let second = tokio::spawn(Call::get(address, "/ping").send());
    assert_eq!(first.send(Call::get(address, "/sleep?ms=300")).await.unwrap().status, 200);
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_for_which_there_is_no_room_waits() {
    let app = Running::start(&[("SINGLE", "1"), ("BACKLOG", "0")]);
    let address = app.address().await;
    let first = TcpStream::connect(address).await.unwrap();
    // One is accepted, and one may wait: of three none else is let in.
    let mut others: Vec<_> = (0..3).map(|_| Box::pin(TcpStream::connect(address))).collect();
    let mut waiting = 0;
    for other in &mut others {
        waiting += usize::from(tokio::time::timeout(SILENCE, other).await.is_err());
    }
    assert!(waiting >= 1, "{waiting} of three wait");
    drop(first);
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_over() {
    let app = Running::start(&[("KEEP_ALIVE_MS", "200")]);
    let address = app.address().await;
    let mut connection = Connection::open(address).await.unwrap();
    assert_eq!(connection.send(Call::get(address, "/sleep?ms=500")).await.unwrap().status, 200);
    assert!(!connection.is_closed(), "time with a request is no idle time");
    wait_until("the app closes it", || connection.is_closed()).await;
}

#[tokio::test]
async fn sigterm_lets_open_requests_finish_and_stops_new_ones() {
    let mut app = Running::start(&[]);
    let address = app.address().await;
    let dir = tempfile::tempdir().unwrap();
    let enough = dir.path().join("enough");
    let open = tokio::spawn(Call::get(address, &support::app::until(&enough)).send());
    wait_until("it is open", || app.report().count("start") == 1).await;
    app.terminate();
    wait_until("the signal is written down", || app.report().count("sigterm") == 1).await;
    wait_for_async("nobody listens", || async { TcpStream::connect(address).await.err() }).await;
    std::fs::write(&enough, "").unwrap();
    assert_eq!(open.await.unwrap().unwrap().text(), "slept\n");
    assert_eq!(app.ended().await.code(), Some(0));
    assert_eq!(app.report().open_at_sigterm(), 1);
    assert_eq!(app.report().events("exit")[0]["served"], 1);
}

#[tokio::test]
async fn it_ends_and_waits_as_its_environment_says() {
    let mut app = Running::start(&[("EXIT_AT_ONCE", "7")]);
    assert_eq!(app.ended().await.code(), Some(7));
    let mut app = Running::start(&[("EXIT_AFTER_MS", "100")]);
    assert_eq!(app.ended().await.code(), Some(3));

    let start = Instant::now();
    let app = Running::start(&[("READY_AFTER_MS", "300")]);
    let address = app.address().await;
    wait_for_async("it is ready", || async { (get(address, "/healthz").await.status == 200).then_some(()) })
        .await;
    // It counts whole milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(299), "{:?}", start.elapsed());

    let mut app = Running::start(&[("START_DELAY_MS", "100000")]);
    wait_until("it runs", || app.report().count("boot") == 1).await;
    app.terminate();
    assert_eq!(app.ended().await.code(), Some(0), "a signal ends the wait");
}

#[tokio::test]
async fn it_begins_and_is_ready_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let [go, well] = ["go", "well"].map(|word| dir.path().join(word));
    let env = [("START_WHEN", go.to_str().unwrap()), ("READY_WHEN", well.to_str().unwrap())];
    let app = Running::start(&env);
    wait_until("it runs", || app.report().count("boot") == 1).await;
    assert_eq!(app.report().count("listening"), 0);
    std::fs::write(&go, "").unwrap();
    let address = app.address().await;
    assert_eq!(get(address, "/healthz").await.status, 503);
    std::fs::write(&well, "").unwrap();
    assert_eq!(get(address, "/healthz").await.status, 200);
    let mut app = Running::start(&[("START_WHEN", "/nonexistent")]);
    wait_until("it runs", || app.report().count("boot") == 1).await;
    app.terminate();
    assert_eq!(app.ended().await.code(), Some(0), "a signal ends the wait");
}

#[tokio::test]
async fn it_runs_in_an_image_that_holds_nothing_else() {
    docker::need_app_image().await;
    let events = Events::listen();
    let instance = format!("test-{}", std::process::id());
    let labels = [format!("pilotlight.instance={instance}"), "pilotlight.replica=0".to_owned()];
    let args = ["--label", &labels[0], "--label", &labels[1], docker::APP_IMAGE];
    let container = OwnContainer::run(&args).await;
    let found = docker::replicas(&instance).await;
    let mine = found.iter().find(|found| found.id() == container.id).expect("it is found by its labels");
    assert_eq!(mine.state(), "running");
    let address = mine.at("/NetworkSettings/IPAddress").as_str().unwrap();
    let address = format!("{address}:8080").parse().unwrap();
    wait_for_async("it answers", || async { Call::get(address, "/ping").send().await.ok() }).await;
    drop(container);
    wait_until("the engine has told of its end", || events.count(&instance, "destroy") == 1).await;
    let actions: Vec<_> = events.all(&instance).iter().map(|event| event["Action"].to_string()).collect();
    assert_eq!(actions, ["\"create\"", "\"start\"", "\"kill\"", "\"die\"", "\"destroy\""]);
}
