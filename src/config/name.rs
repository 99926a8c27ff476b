//! Names of apps: what one may look like, and how to make one of any text.

/// Characters, so that a container's name with what is added to it stays below 63.
const LONGEST: usize = 40;

/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, 40 characters at most.
pub(crate) fn is_valid_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Lower-cased, other characters as `-`; `app` where nothing is left.
pub(crate) fn valid_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let plain: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let cut: String = plain.trim_matches('-').chars().take(LONGEST).collect();
    let name = cut.trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn makes_names_of_folders() {
        assert_eq!(valid_name("My App_2"), "my-app-2");
        assert_eq!(valid_name(".hidden."), "hidden");
        assert_eq!(valid_name("日本"), "app");
    }

    proptest! {
        #[test]
        fn whatever_it_makes_is_valid(text in ".*") {
            prop_assert!(is_valid_name(&valid_name(&text)));
        }
    }
}
