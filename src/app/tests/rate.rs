use std::net::IpAddr;
use std::time::Duration;

use crate::app::rate::Rate;
use crate::config::spec::RateSpec;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_client_has_a_bucket_of_its_own() {
    let rate = Rate::new(RateSpec { rps: 0.001, burst: 2 });
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        assert_eq!((rate.take(ip(client)), rate.take(ip(client))), (Ok(()), Ok(())));
        let wait = rate.take(ip(client)).unwrap_err();
        assert!(wait > Duration::from_mins(15) && wait <= Duration::from_secs(1000), "{wait:?}");
    }
    assert!(rate.take(ip("2001:db8::2")).is_err(), "a host of the same network");
    assert_eq!(rate.take(ip("2001:db8:0:1::1")), Ok(()));
}
