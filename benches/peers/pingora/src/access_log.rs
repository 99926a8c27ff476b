//! A line for each request, with the fields that the other proxies write; in a buffer, as nginx keeps one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use pingora_proxy::Session;

pub struct AccessLog(Mutex<BufWriter<File>>);

impl AccessLog {
    pub fn to(path: &str) -> io::Result<Self> {
        Ok(Self(Mutex::new(BufWriter::with_capacity(64 * 1024, File::create(path)?))))
    }

    pub fn line(&self, session: &Session, took: Duration) {
        let request = session.req_header();
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let client = session.client_addr().map(ToString::to_string).unwrap_or_default();
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock past 1970").as_millis();
        let line = format!(
            "{client} {now} \"{} {} {:?}\" {status} {} {}\n",
            request.method,
            request.uri,
            request.version,
            session.body_bytes_sent(),
            took.as_micros(),
        );
        // A log that cannot be written must not end the run.
        let _ = self.0.lock().expect("nobody panics with it").write_all(line.as_bytes());
    }
}
