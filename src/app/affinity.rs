//! Which replica a request would like to have: the one that its client has had before, or the one that is picked for
//! something that the client says. A wish, no more: who cannot have it gets another.
//!
//! How the wish is read off a request is the gateway's business.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::app::replica::Replica;
use crate::sync::Arc;

/// What a request wishes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The replica that it is bound to.
    pub bound: Bound<'a>,
    /// The key of one that has just failed it: rather any other.
    pub avoid: Option<u64>,
}

/// How a request is bound to a replica.
#[derive(Debug, Clone, Copy, Default)]
pub enum Bound<'a> {
    /// It is not.
    #[default]
    Free,
    /// To the one that this token stands for, if there still is one.
    Token(Token, &'a Secret),
    /// To the one that this value falls to.
    Value(u64),
}

/// Stands for one replica of one app, and says nothing of it to anybody without the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

/// What tokens are made with: the same for as long as the proxy's identity is, so that they outlast a restart.
#[derive(Clone, Copy)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Derived from the key of the proxy's identity, which has other uses.
    #[must_use]
    pub fn of(key: &[u8; 32]) -> Self {
        Self(blake3::derive_key("pilotlight 2026 tokens of replicas", key))
    }

    /// The token of the replica at this address of this app. A replica that takes over the address takes over the
    /// token: to its clients it is another one either way.
    #[must_use]
    pub fn token(&self, app: &str, address: &impl fmt::Display) -> Token {
        let hash = blake3::keyed_hash(&self.0, format!("{app} {address}").as_bytes());
        Token(u64::from_be_bytes(std::array::from_fn(|at| hash.as_bytes()[at])))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Token {
    /// Reads what `Display` writes, and nothing else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 16)?;
        text.as_bytes().iter().all(digit).then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A value that requests are bound by, or a place that they are bound to, as a number: the same in every process.
#[must_use]
pub fn number(value: impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}

/// Of these the one that `value` falls to: the highest of numbers that each makes of it. Whichever comes or goes, no
/// value moves between two that stay.
pub(super) fn fallen_to<'a>(
    replicas: impl Iterator<Item = &'a Arc<Replica>>,
    value: u64,
) -> Option<&'a Arc<Replica>> {
    replicas.max_by_key(|replica| mix(replica.place() ^ value))
}

/// Spreads each bit over all: the finaliser of `MurmurHash3`.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}
