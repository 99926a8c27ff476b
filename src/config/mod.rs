//! `jcloud.yml`: as written, checked, and as run.
//!
//! A file goes through four steps, each in files of its own: text to a tree with places (`tree`), variables filled
//! in (`interpolate`), the tree to typed keys (`schema`, `layout`, `table`, `slot` and the kinds of value), and keys to
//! the configuration as run (`resolve`). Mistakes are collected all the way and shown together.

mod access_log;
mod affinity;
mod app;
mod autoscale;
mod boost;
mod choice;
mod clients;
mod diagnostic;
mod edge;
mod env;
#[cfg(test)]
mod fuzz;
mod headers;
mod interpolate;
mod keys;
mod layout;
mod listen;
mod name;
mod needs;
mod reader;
mod resolve;
mod route;
mod schema;
mod slot;
pub(crate) mod socket;
pub mod spec;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod units;
mod upstream;
mod value;
mod volume;

use std::net::SocketAddr;
use std::path::Path;

pub use diagnostic::{ConfigErrors, Diagnostic, Span};
pub use interpolate::Lookup;
pub use keys::markdown;
pub use listen::parse_listen;
pub use resolve::ADMIN;
pub use route::show_route;
pub use units::{format_duration, format_size};
pub use value::parse_address;

use diagnostic::Source;
use reader::Reader;
use spec::{Config, ListenAddress, ProxySpec, RuntimeKind};

/// Bytes of a file that are read at most; ten thousand apps take a third of that.
const LARGEST: usize = 8 << 20;

/// What the command line says in place of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of `listen`; not empty.
    pub listen: Option<Vec<ListenAddress>>,
    /// In place of `admin.listen`.
    pub admin: Option<SocketAddr>,
    /// In place of `runtime`.
    pub runtime: Option<RuntimeKind>,
}

/// Reads and checks a file.
///
/// # Errors
/// Every mistake that was found, each with its place.
pub fn load(path: &Path, overrides: &Overrides, env: Lookup<'_>) -> Result<Config, ConfigErrors> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    parse(&bytes, path, overrides, env)
}

/// What a file says of the proxy, whatever is wrong with the rest of it; `None` where that cannot be read.
#[must_use]
pub fn load_proxy(path: &Path, env: Lookup<'_>) -> Option<ProxySpec> {
    let bytes = std::fs::read(path).ok()?;
    let (config, _mistakes) = read(decode(&bytes, path).ok()?, path, &Overrides::default(), env);
    config.map(|config| config.proxy)
}

/// Checks the text of a file. Nothing is read but what it names: env files, and whether there is a Dockerfile.
///
/// # Errors
/// Every mistake that was found, each with its place.
pub fn parse(
    text: impl AsRef<[u8]>,
    path: &Path,
    overrides: &Overrides,
    env: Lookup<'_>,
) -> Result<Config, ConfigErrors> {
    match read(decode(text.as_ref(), path)?, path, overrides, env) {
        (Some(config), found) if found.is_empty() => Ok(config),
        (_, found) => Err(ConfigErrors::new(found)),
    }
}

/// As much of the configuration as can be made of the text, and every mistake in it.
fn read(
    text: &str,
    path: &Path,
    overrides: &Overrides,
    env: Lookup<'_>,
) -> (Option<Config>, Vec<Diagnostic>) {
    let source = Source::shown(path, text);
    let (tree, mut found) = tree::parse(&source, text);
    let Some(mut tree) = tree else {
        if found.is_empty() {
            found.push(empty(&source));
        }
        return (None, found);
    };
    if tree.is_null() {
        return (None, vec![empty(&source)]);
    }
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let dir = reader::normalise(full.parent().unwrap_or(Path::new("/")));
    let mut reader = Reader::new(source, dir);
    reader.found = found;
    interpolate::fill(&mut tree, env, &mut reader);
    let config =
        layout::read(&tree, &mut reader).map(|layout| resolve::resolve(layout, overrides, &mut reader));
    (config, reader.found)
}

/// What a first file can look like.
const EXAMPLE: &str = "image: nginx:1.27\nport: 80\nautoscale:\n  min: 0\n  metric: rps\n  target: 10";

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let source = Source::hidden(path);
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if error.kind() == std::io::ErrorKind::NotFound {
        let help = format!(
            "it was looked for at {}; name another with `--config`, or write one, such as:\n{EXAMPLE}",
            full.display()
        );
        return Diagnostic::of_file(&source, "there is no such file").help(help);
    }
    Diagnostic::of_file(&source, format!("cannot be read: {error}"))
        .help(format!("it is at {}", full.display()))
}

fn empty(source: &std::sync::Arc<Source>) -> Diagnostic {
    Diagnostic::of_file(source, "the file is empty").help(format!("write an app, such as:\n{EXAMPLE}"))
}

/// The file as text, without a byte order mark.
fn decode<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, ConfigErrors> {
    let source = Source::hidden(path);
    if bytes.len() > LARGEST {
        let message = format!("the file is larger than {}", format_size(LARGEST as u64));
        return Err(Diagnostic::of_file(&source, message).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| -> ConfigErrors {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let message = format!("not UTF-8: the byte 0x{:02x}", bytes[error.valid_up_to()]);
        Diagnostic::at(&source, Span::of_line(line, column, 1), message).help("save the file as UTF-8").into()
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
