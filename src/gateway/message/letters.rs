//! Upper and lower case of header names, for who minds: kept beside a message's headers from where they are read to where
//! they are written.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

/// How the names of a message's headers were written, those of one name in their order.
#[derive(Debug, Default, Clone)]
pub struct Letters(HeaderMap<Bytes>);

impl Letters {
    /// One more header was written like this.
    pub fn append(&mut self, name: HeaderName, written: Bytes) {
        self.0.append(name, written);
    }

    /// Gives each of the headers with its name as it was written; what was added on the way has none but its own.
    pub fn each<'a>(&'a self, headers: &'a HeaderMap, mut write: impl FnMut(&'a [u8], &'a [u8])) {
        for name in headers.keys() {
            let mut written = self.0.get_all(name).iter();
            for value in headers.get_all(name) {
                let name = written.next().map_or(name.as_str().as_bytes(), |written| written);
                write(name, value.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn each_has_its_own() {
        let (mut headers, mut letters) = (HeaderMap::new(), Letters::default());
        for (written, value) in [("X-CaMeL", "1"), ("x-camel", "2"), ("A", "3")] {
            let name: HeaderName = written.parse().unwrap();
            headers.append(&name, HeaderValue::from_static(value));
            letters.append(name, Bytes::from_static(written.as_bytes()));
        }
        headers.append("x-camel", HeaderValue::from_static("4"));
        headers.append("via", HeaderValue::from_static("5"));
        headers.remove("a");
        let mut all = Vec::new();
        letters.each(&headers, |name, value| all.push((name, value)));
        let expected = [(&b"X-CaMeL"[..], &b"1"[..]), (b"x-camel", b"2"), (b"x-camel", b"4"), (b"via", b"5")];
        assert_eq!(all, expected);
    }
}
