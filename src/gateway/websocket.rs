//! A WebSocket's bytes in one direction, followed far enough to know where its frames end (RFC 6455 section 5.2): a frame
//! of the proxy's own may go between two of them and nowhere else.
//!
//! Reads heads and lengths. Payloads, masks and extensions are the two ends' business.

/// Bytes of the longest head: two, eight for the length, four for the mask.
const HEAD: usize = 14;

const CLOSE: u8 = 0x8;

/// The first opcode of control frames.
const CONTROL: u8 = 0x8;

/// "Going away", RFC 6455 section 7.4.1.
const GOING_AWAY: u16 = 1001;

/// Where in a direction's frames the last byte was.
#[derive(Debug, Default)]
pub struct Frames {
    /// What there is of the next frame's head.
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    opcode: u8,
    /// What has gone by since somebody asked.
    message: bool,
    /// A close frame has gone by: nothing follows it.
    closed: bool,
}

/// Who sends: a client masks what it says, a server never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Whoever has asked for the WebSocket.
    Client,
    /// Whoever has agreed to it.
    Server,
}

impl Frames {
    /// Whether the last byte was the last of a frame.
    #[must_use]
    pub fn between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether a close frame has begun.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Whether a part of a message has gone by since the last time.
    pub fn take_message(&mut self) -> bool {
        std::mem::take(&mut self.message)
    }

    /// Goes past all of `bytes`.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.end_of_frame(bytes)..];
        }
    }

    /// Goes on to the end of the frame; gives how many of `bytes` that were: all, where it ends beyond them.
    pub fn end_of_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.left == 0 && at < bytes.len() {
            self.head[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have >= 2 && self.have == head_len(self.head[1]) {
                self.begin();
                if self.left == 0 {
                    return at;
                }
            }
        }
        let rest = bytes.len() - at;
        let step = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
        self.left -= step as u64;
        self.message |= step > 0 && self.opcode < CONTROL;
        at + step
    }

    /// The head is whole.
    fn begin(&mut self) {
        self.opcode = self.head[0] & 0x0f;
        self.left = match self.head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => u64::from_be_bytes(self.head[2..10].try_into().expect("eight bytes")),
            short => u64::from(short),
        };
        self.message |= self.opcode < CONTROL;
        self.closed |= self.opcode == CLOSE;
        self.have = 0;
    }
}

/// Bytes of a head whose second byte this is.
const fn head_len(second: u8) -> usize {
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// A close frame of `from`, with a reason.
///
/// # Panics
/// Where the reason has more than the 123 bytes that there is room for.
#[must_use]
pub fn close_frame(from: Side, why: &'static str) -> Vec<u8> {
    let code = GOING_AWAY.to_be_bytes();
    let length = u8::try_from(code.len() + why.len()).expect("a short reason");
    let mut frame = vec![0x80 | CLOSE, length];
    let mask = match from {
        Side::Server => [0; 4],
        Side::Client => {
            let mask: [u8; 4] = std::array::from_fn(|_| fastrand::u8(..));
            frame[1] |= 0x80;
            frame.extend(mask);
            mask
        }
    };
    let payload = code.iter().chain(why.as_bytes());
    frame.extend(payload.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame of so long a payload, and its length in all.
    fn frame(opcode: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..126 => frame.push(mask | u8::try_from(payload).unwrap()),
            126..0x1_0000 => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, payload));
        frame
    }

    proptest! {
        #[test]
        fn it_knows_every_end_whatever_the_pieces(
            frames in prop::collection::vec((prop::sample::select(vec![0u8, 1, 2, 9, 10]), any::<bool>(),
                prop::sample::select(vec![0usize, 1, 125, 126, 300, 65_535, 65_536])), 1..6),
            cuts in prop::collection::vec(1usize..70_000, 0..40),
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(op, masked, len)| frame(op, masked, len)).collect();
            let mut ends = Vec::new();
            let all: Vec<u8> = frames.iter().fold(Vec::new(), |mut all, frame| {
                all.extend(frame);
                ends.push(all.len());
                all
            });
            // In pieces, each end is where one is.
            let (mut followed, mut at) = (Frames::default(), 0_usize);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at.saturating_add(cut).min(all.len());
                followed.follow(&all[at..end]);
                at = end;
                prop_assert_eq!(followed.between(), at == 0 || ends.contains(&at));
            }
            prop_assert!(!followed.closed());
            // And frame by frame.
            let (mut stepped, mut at) = (Frames::default(), 0);
            for end in ends {
                at += stepped.end_of_frame(&all[at..]);
                prop_assert_eq!(at, end);
            }
        }
    }

    #[test]
    fn messages_are_told_from_pings_and_closes() {
        let mut frames = Frames::default();
        frames.follow(&frame(9, true, 125));
        frames.follow(&frame(10, false, 4));
        assert!(!frames.take_message());
        let long = frame(2, true, 70_000);
        for piece in [&long[..1], &long[1..14], &long[14..20], &long[20..]] {
            let begins = piece.len() == 1;
            frames.follow(piece);
            assert_eq!(frames.take_message(), !begins);
        }
        frames.follow(&frame(1, false, 0));
        assert!(frames.take_message(), "an empty one is one");
        assert!(!frames.closed());
        frames.follow(&frame(8, true, 2));
        assert!(frames.closed() && !frames.take_message());
    }

    #[test]
    fn a_close_frame_is_read_as_one() {
        for (from, masked) in [(Side::Client, true), (Side::Server, false)] {
            let bytes = close_frame(from, "idle");
            let mut frames = Frames::default();
            assert_eq!(frames.end_of_frame(&bytes), bytes.len());
            assert!(frames.closed() && frames.between());
            let (head, mask) = if masked { (6, &bytes[2..6]) } else { (2, &[0; 4][..]) };
            let payload: Vec<u8> =
                bytes[head..].iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(payload, b"\x03\xe9idle");
        }
    }
}
