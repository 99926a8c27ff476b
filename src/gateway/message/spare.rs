//! What has held other messages' headers and bytes: what it has asked for is of use for the next ones. A thread's
//! connections share it, so that an idle one keeps none.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderMap;

/// Maps and texts that a thread keeps: a map for each request that is answered, and one for each answer.
const MOST: usize = 256;

/// Headers for which a map has room from the beginning: those of a message, and those that are added on the way.
const ROOM: usize = 24;

/// Headers for which a map may have room that is kept.
const LARGEST_MAP: usize = 128;

/// Bytes of a text that is kept.
const LARGEST_TEXT: usize = 32 * 1024;

/// Blocks that a thread keeps: what it reads one after the other needs one, and those that wait to be written some.
const MOST_BLOCKS: usize = 16;

thread_local! {
    static BLOCKS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty map.
#[must_use]
pub fn map() -> HeaderMap {
    MAPS.with_borrow_mut(Vec::pop).unwrap_or_else(|| HeaderMap::with_capacity(ROOM))
}

/// A map whose headers are of no more use.
pub fn give_back_map(mut map: HeaderMap) {
    // Of one name there may be many, which is not counted as room.
    if (1..=LARGEST_MAP).contains(&map.capacity()) && map.len() <= LARGEST_MAP {
        map.clear();
        put(&MAPS, map);
    }
}

/// An empty text.
#[must_use]
pub fn text() -> Vec<u8> {
    TEXTS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// A text that is of no more use.
pub fn give_back_text(mut text: Vec<u8>) {
    if (1..=LARGEST_TEXT).contains(&text.capacity()) {
        text.clear();
        put(&TEXTS, text);
    }
}

/// An empty block with room for so many bytes, the one that was used last: it is in the cache still. `None`: there is
/// none, or its bytes are not written yet.
#[must_use]
pub fn block(room: usize) -> Option<BytesMut> {
    let mut block = BLOCKS.with_borrow_mut(Vec::pop)?;
    block.try_reclaim(room).then_some(block)
}

/// A block that is empty, though some of its bytes may have to be written yet.
pub fn give_back_block(block: BytesMut) {
    BLOCKS.with_borrow_mut(|kept| {
        if kept.len() < MOST_BLOCKS {
            kept.push(block);
        }
    });
}

fn put<T>(kept: &'static std::thread::LocalKey<RefCell<Vec<T>>>, one: T) {
    kept.with_borrow_mut(|kept| {
        if kept.len() < MOST {
            kept.push(one);
        }
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_comes_again_is_empty() {
        let mut map = map();
        map.insert("a", HeaderValue::from_static("b"));
        give_back_map(map);
        assert!(super::map().is_empty());
        give_back_text(b"abc".to_vec());
        assert_eq!(text(), b"");
    }

    #[test]
    fn a_block_comes_again_when_its_bytes_are_gone() {
        let mut block = BytesMut::with_capacity(100);
        block.extend_from_slice(&[7; 60]);
        let at = block.as_ptr();
        let bytes = block.split().freeze();
        give_back_block(block);
        assert!(super::block(100).is_none(), "they are in use");
        let mut block = BytesMut::with_capacity(100);
        block.extend_from_slice(&bytes);
        drop(block.split());
        give_back_block(block);
        assert!(super::block(100).is_some_and(|block| block.is_empty() && block.capacity() >= 100));
        assert!(super::block(1).is_none());
        assert_eq!(bytes.as_ptr(), at);
        (0..2 * MOST_BLOCKS).for_each(|_| give_back_block(BytesMut::with_capacity(10)));
        assert_eq!(BLOCKS.with_borrow(Vec::len), MOST_BLOCKS);
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        give_back_text(Vec::with_capacity(LARGEST_TEXT + 1));
        assert_eq!(text().capacity(), 0);
        let texts = (0..2 * MOST).map(|_| Vec::with_capacity(10));
        texts.for_each(give_back_text);
        assert_eq!(TEXTS.with_borrow(Vec::len), MOST);
    }
}
