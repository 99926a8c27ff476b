//! Unix sockets to listen on.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::h2::{H2, get};
use crate::support::http::Answer;
use crate::support::proxy::Setup;
use crate::support::yaml;

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_in_by_a_socket_and_it_is_gone_with_the_proxy() {
    let setup = Setup::process(&yaml::app(&[], "trusted_proxies: unix"));
    let path = setup.dir().join("http.sock");
    let setup = setup.arg("--listen").arg("127.0.0.1:0");
    let mut proxy = setup.arg("--listen").arg(&format!("unix:{}", path.display())).start().await;

    let stream = UnixStream::connect(&path).await.unwrap();
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/headers").header("host", "a.test").header("x-forwarded-for", "192.0.2.1");
    let response = requests.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let seen = Answer::read(response).await.unwrap().json();
    let headers = seen["headers"].to_string();
    assert!(headers.contains(r#"["x-forwarded-for","192.0.2.1, 127.0.0.1"]"#), "{headers}");

    let client = H2::over(UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(client.send(get("/id")).await.unwrap().status, 200);

    proxy.kill().await;
    assert!(path.exists(), "who is killed leaves it");
    proxy.start().await;
    let client = H2::over(UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(client.send(get("/id")).await.unwrap().status, 200, "and it is taken over");
    drop(client);
    proxy.stop().await;
    assert!(!path.exists());
}
