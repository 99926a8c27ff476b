//! `.dockerignore`: which files of a folder stay out of a build. Owns the rules; reads no file.
//!
//! As Docker has it: patterns are relative to the folder, the last one that matches decides, `!` takes back,
//! and what matches a folder matches all below it. `*` and `?` stay within one name, `**` does not.

/// The rules of one folder.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// The pattern's names, between slashes.
    names: Vec<String>,
    /// `!`: what matches comes along after all.
    takes_back: bool,
}

/// Never part of a build, whatever the rules say: a proxy's state, at any depth. That of this proxy may have another
/// name, and is left out by whoever reads the folder.
const STATE: &str = ".pilotlight";

/// Never part of a build either: the folder's history.
const HISTORY: &str = ".git";

/// Part of every build, whatever the rules say: the engine cannot do without.
const NEVER: &[&str] = &["Dockerfile", ".dockerignore"];

impl Ignore {
    /// The rules in a `.dockerignore` file.
    pub(super) fn parse(text: &str) -> Self {
        let rules = text.trim_start_matches('\u{feff}').lines().filter_map(Rule::parse).collect();
        Self { rules }
    }

    /// Whether the file or folder at `path` (names between slashes, relative) stays out.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        if never_comes_along(&names) {
            return true;
        }
        if NEVER.contains(&path) {
            return false;
        }
        let mut out = false;
        for rule in &self.rules {
            if rule.takes_back == out && rule.covers(&names) {
                out = !rule.takes_back;
            }
        }
        out
    }

    /// Whether something below a folder that stays out may come along after all.
    pub(super) fn takes_back_below(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        !never_comes_along(&names) && self.rules.iter().any(|rule| rule.takes_back)
    }
}

fn never_comes_along(names: &[&str]) -> bool {
    names[0] == HISTORY || names.contains(&STATE)
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = line.trim();
        let (pattern, takes_back) = line.strip_prefix('!').map_or((line, false), |rest| (rest.trim(), true));
        let mut names: Vec<String> = Vec::new();
        for name in pattern.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name.to_owned()),
            }
        }
        (!names.is_empty()).then_some(Self { names, takes_back })
    }

    /// Whether it matches the path or a folder above it.
    fn covers(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|depth| names_match(&self.names, &path[..depth]))
    }
}

fn names_match(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => {
            (0..=path.len()).any(|skipped| names_match(rest, &path[skipped..]))
        }
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, below)| name_matches(first, name) && names_match(rest, below)),
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    chars_match(&pattern, &name)
}

fn chars_match(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skipped| chars_match(rest, &name[skipped..])),
        Some(('?', rest)) => !name.is_empty() && chars_match(rest, &name[1..]),
        Some(('[', rest)) => match (class(rest), name.split_first()) {
            (Some((members, rest)), Some((&first, below))) => {
                members.contain(first) && chars_match(rest, below)
            }
            _ => false,
        },
        Some(('\\', [escaped, rest @ ..])) => name.first() == Some(escaped) && chars_match(rest, &name[1..]),
        Some((plain, rest)) => name.first() == Some(plain) && chars_match(rest, &name[1..]),
    }
}

/// The members of `[a-z]` or `[^a-z]`.
struct Class<'a> {
    members: &'a [char],
    inverted: bool,
}

/// What stands after `[`, taken apart into the class and what follows it.
fn class(pattern: &[char]) -> Option<(Class<'_>, &[char])> {
    let inverted = pattern.first() == Some(&'^');
    let members = &pattern[usize::from(inverted)..];
    let end = members.iter().position(|&c| c == ']')?;
    Some((Class { members: &members[..end], inverted }, &members[end + 1..]))
}

impl Class<'_> {
    fn contain(&self, c: char) -> bool {
        let mut rest = self.members;
        let mut inside = false;
        while let [first, tail @ ..] = rest {
            (inside, rest) = match tail {
                ['-', last, tail @ ..] => (inside || (*first..=*last).contains(&c), tail),
                tail => (inside || *first == c, tail),
            };
        }
        inside != self.inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(rules: &str, path: &str) -> bool {
        Ignore::parse(rules).leaves_out(path)
    }

    #[test]
    fn patterns() {
        for (rules, path, expected) in [
            ("target", "target", true),
            ("target", "target/debug/app", true),
            ("target", "src/target", false),
            ("/target/", "target/x", true),
            ("./target", "target", true),
            ("**/target", "a/b/target/x", true),
            ("**/target", "target", true),
            ("*.log", "a.log", true),
            ("*.log", "logs/a.log", false),
            ("**/*.log", "logs/a.log", true),
            ("logs/*", "logs/a/b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("# a comment\n\n", "# a comment", false),
            ("*\n!src", "src/main.rs", false),
            ("*\n!src", "other", true),
            ("!src\n*", "src/main.rs", true),
            ("*.md\n!README.md", "README.md", false),
            ("a/../b", "b", true),
            ("**", "anything/at/all", true),
        ] {
            assert_eq!(left_out(rules, path), expected, "{rules:?} {path}");
        }
    }

    #[test]
    fn our_own_and_the_engine_s() {
        assert!(left_out("!.git\n!.pilotlight", ".git/config"));
        assert!(left_out("", ".pilotlight/instance"));
        assert!(left_out("!**/.pilotlight", "deploy/.pilotlight/key"));
        assert!(!left_out("", "vendor/.git/config"));
        assert!(!left_out("", ".gitignore"));
        assert!(!left_out("*", "Dockerfile"));
        assert!(!left_out("*", ".dockerignore"));
        assert!(left_out("*", "sub/Dockerfile"));
    }
}
