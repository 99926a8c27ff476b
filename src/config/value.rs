//! The kinds of value that a key can have: numbers within a range, times, sizes, words, lists.
//!
//! Owns reading one value and saying what is wrong with it. How values act together is `resolve`'s business.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::diagnostic::Span;
use super::reader::{Reader, describe};
use super::spec::Command;
use super::table::Value;
use super::tree::{Kind, Node, Style};
use super::units::{format_duration, format_size, parse_duration, parse_size};

/// A scalar's text, if the node is one that says something.
pub(crate) fn scalar(node: &Node) -> Option<(&str, Style)> {
    match &node.kind {
        Kind::Scalar { text, style } if !node.is_null() => Some((text, *style)),
        _ => None,
    }
}

/// A scalar's text where quotes would make it something else than a number or a truth value.
fn bare(node: &Node) -> Option<&str> {
    scalar(node).filter(|(_, style)| *style != Style::Quoted).map(|(text, _)| text)
}

/// Reports what is not the number that is wanted.
fn no_number(node: &Node, expected: &str, mut help: String, reader: &mut Reader) {
    if let Some((_, Style::Quoted)) = scalar(node) {
        help.push_str(", without quotes");
    }
    reader.wrong_kind(node, expected, help);
}

/// Text; numbers and truth values are taken as they are written.
pub(crate) fn text(node: &Node, expected: &str, reader: &mut Reader) -> Option<String> {
    match scalar(node) {
        Some((text, _)) if !text.is_empty() && !text.contains('\0') => Some(text.to_owned()),
        Some(_) => {
            reader.mistake(
                node.span,
                format!("expected {expected}, found an empty text"),
                "write one, or remove the key",
            );
            None
        }
        None => {
            reader.wrong_kind(node, expected, "write it as one value");
            None
        }
    }
}

/// A whole number from MIN to MAX.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Int<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Value for Int<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let range = format!("write a whole number from {MIN} to {MAX}");
        let Some(number) = bare(node).and_then(|text| text.parse::<i128>().ok()) else {
            no_number(node, "a whole number", range, reader);
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Some(Self(number)),
            _ => {
                reader.mistake(node.span, format!("`{number}` is out of range"), range);
                None
            }
        }
    }
}

impl<const MIN: u64, const MAX: u64> Int<MIN, MAX> {
    /// The number as a `u32`; the ranges that are read into one end below its own.
    pub(crate) fn u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// A number from MIN to MAX thousandths; with `OPEN` above MIN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<const MIN: u32, const MAX: u32, const OPEN: bool>(pub(crate) f64);

impl<const MIN: u32, const MAX: u32, const OPEN: bool> Value for Number<MIN, MAX, OPEN> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let (low, high) = (f64::from(MIN) / 1000.0, f64::from(MAX) / 1000.0);
        let range = if OPEN {
            format!("write a number above {low}, up to {high}")
        } else {
            format!("write a number from {low} to {high}")
        };
        let number = bare(node).and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
        let Some(number) = number else {
            no_number(node, "a number", range, reader);
            return None;
        };
        if number < low || number > high || (OPEN && number <= low) {
            reader.mistake(node.span, format!("`{number}` is out of range"), range);
            return None;
        }
        Some(Self(number))
    }
}

/// A duration from MIN to MAX milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time<const MIN: u64, const MAX: u64>(pub(crate) Duration);

impl<const MIN: u64, const MAX: u64> Value for Time<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(duration) = scalar(node).and_then(|(text, _)| parse_duration(text)) else {
            reader.wrong_kind(
                node,
                "a duration",
                "write seconds, or a unit: `30`, `500ms`, `90s`, `5m`, `1h`",
            );
            return None;
        };
        let (low, high) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if duration < low || duration > high {
            let message = format!("`{}` is out of range", format_duration(duration));
            let help = format!("write a duration from {} to {}", format_duration(low), format_duration(high));
            reader.mistake(node.span, message, help);
            return None;
        }
        Some(Self(duration))
    }
}

/// Bytes, from MIN to MAX.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// The largest size that any key takes.
pub(crate) const LARGEST: u64 = 64 << 40;

/// Bytes of memory that a replica may use; Docker refuses less.
pub(crate) type Memory = Size<{ 6 << 20 }, LARGEST>;

impl<const MIN: u64, const MAX: u64> Value for Size<MIN, MAX> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some((text, bytes)) = scalar(node).and_then(|(text, _)| Some((text, parse_size(text)?))) else {
            reader.wrong_kind(node, "a size", "write bytes, or a unit: `512M`, `2G`, `1Gi` (powers of 1024)");
            return None;
        };
        if !(MIN..=MAX).contains(&bytes) {
            let mut help = format!("write a size from {} to {}", format_size(MIN), format_size(MAX));
            if bytes < MIN && MIN >= 1 << 20 && text.parse::<u64>().is_ok() {
                help += "; a number alone counts bytes, so write a unit: `512M`";
            }
            reader.mistake(node.span, format!("{} is out of range", format_size(bytes)), help);
            return None;
        }
        Some(Self(bytes))
    }
}

impl Value for bool {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match bare(node) {
            Some("true" | "True" | "TRUE") => Some(true),
            Some("false" | "False" | "FALSE") => Some(false),
            _ => {
                reader.wrong_kind(node, "a truth value", "write `true` or `false`, without quotes");
                None
            }
        }
    }
}

/// One word, such as an image's or a network's name.
#[derive(Debug, Clone)]
pub(crate) struct Word(pub(crate) String);

impl Value for Word {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let word = text(node, "a word", reader)?;
        if word.contains(|c: char| c.is_whitespace() || c.is_control()) {
            reader.mistake(node.span, format!("{} has a space in it", describe(node)), "write one word");
            return None;
        }
        Some(Self(word))
    }
}

/// A path of the host as it is written.
#[derive(Debug, Clone)]
pub(crate) struct HostPath(pub(crate) String);

impl Value for HostPath {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let path = text(node, "a path", reader)?;
        if path.starts_with('~') {
            reader.mistake(node.span, "`~` is not filled in", "write the path in full, or `${HOME}`");
            return None;
        }
        Some(Self(path))
    }
}

/// A Unix socket's path; `unix://` before it, as in `DOCKER_HOST`, is taken off.
#[derive(Debug, Clone)]
pub(crate) struct SocketPath(pub(crate) String);

impl Value for SocketPath {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let HostPath(path) = HostPath::read(node, reader)?;
        let path = path.strip_prefix("unix://").unwrap_or(&path);
        if path.contains("://") {
            let message = format!("{} is no Unix socket", describe(node));
            reader.mistake(node.span, message, "write a path, such as `/var/run/docker.sock`");
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Value for Command {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            return text(node, "a command", reader).map(Command::Shell);
        };
        if items.is_empty() {
            reader.mistake(node.span, "the command is empty", "write the program and its arguments");
            return None;
        }
        let argument = |item: &Node| match scalar(item) {
            // An argument may be empty; only the program may not.
            Some((text, _)) if !text.contains('\0') => Some(text.to_owned()),
            _ => {
                reader.wrong_kind(item, "an argument", "write each argument as one text");
                None
            }
        };
        let list = items.iter().map(argument).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
        if list[0].is_empty() {
            reader.mistake(items[0].span, "the program's name is empty", "write the program to run");
            return None;
        }
        Some(Command::List(list))
    }
}

impl Value for SocketAddr {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let address = scalar(node).and_then(|(text, _)| parse_address(text).ok());
        if address.is_none() {
            reader.wrong_kind(node, "an address", ADDRESS_HELP);
        }
        address
    }
}

const ADDRESS_HELP: &str = "write `0.0.0.0:8080`, `[::]:8080`, `:8080` or `8080`";

/// `0.0.0.0:8080`, `[::]:80`; `:8080` and `8080` are every IPv4 address of the host. Port 0 is any that is free.
///
/// # Errors
/// What to write instead.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(port) = port.parse::<u16>()
    {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    // A name would have to be looked up, and could mean something else tomorrow.
    Err(ADDRESS_HELP.to_owned())
}

/// One value or a list of them, each with its place; a list that is empty is a mistake unless it says something.
#[derive(Debug, Clone)]
pub(crate) struct Many<T, const OR_NONE: bool = false>(pub(crate) Vec<(T, Span)>);

/// The same, where none at all may be meant: that an app goes without what `defaults` say.
pub(crate) type Any<T> = Many<T, true>;

impl<T: Value, const OR_NONE: bool> Value for Many<T, OR_NONE> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            return T::read(node, reader).map(|value| Self(vec![(value, node.span)]));
        };
        if items.is_empty() && !OR_NONE {
            reader.mistake(node.span, "the list is empty", "write at least one, or remove the key");
            return None;
        }
        let values = items.iter().map(|item| T::read(item, reader).map(|value| (value, item.span)));
        // All are read before one that is wrong counts, so that each is reported.
        let values: Vec<_> = values.collect();
        values.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }
}
