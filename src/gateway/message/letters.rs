//! Upper and lower case of header names, for who minds: kept beside a message's headers from where they are read to where
//! they are written.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// How the names of a message's headers were written, those of one name in their order.
#[derive(Debug, Default, Clone)]
pub struct Letters(HeaderMap<Bytes>);

impl Letters {
    /// One more header was written like this.
    pub fn append(&mut self, name: HeaderName, written: Bytes) {
        self.0.append(name, written);
    }

    /// Gives each of the headers: its name, that as it was written, and its value. What was added on the way is written as
    /// it is named.
    pub fn each<'a>(
        &'a self,
        headers: &'a HeaderMap,
        mut give: impl FnMut(&'a HeaderName, &'a [u8], &'a HeaderValue),
    ) {
        for name in headers.keys() {
            let mut written = self.0.get_all(name).iter();
            for value in headers.get_all(name) {
                give(name, written.next().map_or(name.as_str().as_bytes(), |written| written), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        letters.each(&headers, |_, written, value| all.push((written, value.as_bytes())));
        let expected = [(&b"X-CaMeL"[..], &b"1"[..]), (b"x-camel", b"2"), (b"x-camel", b"4"), (b"via", b"5")];
        assert_eq!(all, expected);
    }
}
