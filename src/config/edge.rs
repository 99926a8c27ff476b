//! What the proxy answers by itself: redirects, and what a client gets that asks for a host that nobody has.
//!
//! Owns the notation of both, and that no redirect leads back to itself.

use http::{StatusCode, Uri};

use super::clients;
use super::diagnostic::Span;
use super::reader::{Reader, short};
use super::route::{Claims, Owner, url_path};
use super::schema::{ProxyFile, RedirectFile};
use super::slot::{At, Slot};
use super::spec::{EdgeSpec, HttpsSpec, RedirectSpec, RouteSpec, UnknownHost};
use super::table::Value;
use super::tree::Node;
use super::value::{Many, text};

/// Where a redirect leads: a URL, whose path is taken for a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// Scheme, host and port.
    origin: String,
    /// The host alone, in lower case.
    host: String,
    port: Option<u16>,
    /// Without the slash at its end: empty for `/`.
    path: String,
}

impl Value for Destination {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const HELP: &str =
            "write `https://example.com`, or one with a path: what follows `from` is put behind it";
        let written = text(node, "a URL", reader)?;
        let mut wrong = |what: &str| {
            reader.mistake(node.span, format!("`{}` {what}", short(&written)), HELP);
            None
        };
        if written.contains(['?', '#']) {
            return wrong("has a `?` or a `#`");
        }
        let parts = written.parse::<Uri>().map(Uri::into_parts).unwrap_or_default();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return wrong("is no URL");
        };
        if !matches!(scheme.as_str(), "http" | "https") || authority.as_str().contains('@') {
            return wrong("is no URL of a web site");
        }
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        let path = url_path(path, node, reader)?.trim_end_matches('/').to_owned();
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        Some(Self { origin: format!("{scheme}://{authority}"), host, port: authority.port_u16(), path })
    }
}

/// A status that says where else to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedirectStatus(StatusCode);

impl Value for RedirectStatus {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let status = text(node, "a status", reader)?.parse().ok();
        let status =
            status.filter(|status: &StatusCode| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
        if status.is_none() {
            let help = "write 308 or 301 (for good), 307 or 302 (for now), or 303 (go there with GET)";
            reader.wrong_kind(node, "a status of a redirect", help);
        }
        status.map(Self)
    }
}

impl Value for UnknownHost {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = text(node, "`close` or a status", reader)?;
        if written == "close" {
            return Some(Self::Close);
        }
        let status = written.parse().ok().filter(|status: &StatusCode| (400..600).contains(&status.as_u16()));
        if status.is_none() {
            let help = "write `close` or a status from 400 to 599; an app or a redirect takes every host with `\"*\"`";
            reader.wrong_kind(node, "`close` or a status of an error", help);
        }
        status.map(Self::Status)
    }
}

/// A rule as it is written.
struct Rule {
    from: At<RouteSpec>,
    to: At<Destination>,
    status: StatusCode,
}

/// What the proxy answers by itself. The apps have claimed their routes before.
pub(crate) fn resolve(
    proxy: &ProxyFile,
    https: HttpsSpec,
    claims: &mut Claims,
    reader: &mut Reader,
) -> EdgeSpec {
    let files = proxy.redirect.clone().or(Many(Vec::new())).0;
    let rules: Vec<Rule> = files.into_iter().filter_map(|(file, span)| rule(file, span, reader)).collect();
    for (index, rule) in rules.iter().enumerate() {
        claims.claim(rule.from.value.clone(), Owner::Redirect(index), Some(rule.from.span), reader);
    }
    let ports: Vec<u16> = match &proxy.listen {
        Slot::Given(at) => at.value.0.iter().filter_map(|(address, _)| address.port()).collect(),
        Slot::Absent | Slot::Bad(_) => vec![super::resolve::LISTEN.port()],
    };
    for (index, rule) in rules.iter().enumerate() {
        if leads_back(index, &rules, claims, &ports) {
            reader.conflict(
                rule.to.span,
                "this redirect leads back to itself",
                (rule.from.span, "to here"),
                format!(
                    "give `{}` to an app, or write another host; from http to https is `tls.redirect_http`",
                    rule.to.value.host
                ),
            );
        }
    }
    let redirects = rules.into_iter().map(|Rule { from, to, status }| RedirectSpec {
        from: from.value,
        origin: to.value.origin,
        path: to.value.path,
        status,
    });
    let unknown_host = proxy.unknown_host.clone().or_default();
    EdgeSpec { redirects: redirects.collect(), unknown_host, https, clients: clients::resolve(proxy) }
}

fn rule(file: RedirectFile, span: Span, reader: &mut Reader) -> Option<Rule> {
    match (file.from, file.to) {
        (Slot::Given(from), Slot::Given(to)) => {
            let status = file.status.or(RedirectStatus(StatusCode::PERMANENT_REDIRECT)).0;
            Some(Rule { from, to, status })
        }
        (Slot::Absent, _) | (_, Slot::Absent) => {
            let help = "write `from: www.example.com` and `to: https://example.com`";
            reader.mistake(span, "a redirect needs `from` and `to`", help);
            None
        }
        _ => None,
    }
}

/// Whether who follows the rule from its own destination on comes to it again. A circle of several rules is the first
/// one's mistake.
fn leads_back(start: usize, rules: &[Rule], claims: &Claims, ports: &[u16]) -> bool {
    let mut at = start;
    let mut rest = String::new();
    for _ in 0..=rules.len() {
        let to = &rules[at].to.value;
        // Behind another port is another server.
        if to.port.is_some_and(|port| !matches!(port, 80 | 443) && !ports.contains(&port)) {
            return false;
        }
        let path = format!("{}{rest}", to.path);
        let Some((Owner::Redirect(next), prefix)) = claims.find(&to.host, &path) else { return false };
        if *next <= start {
            return *next == start;
        }
        at = *next;
        path[prefix..].clone_into(&mut rest);
    }
    false
}
