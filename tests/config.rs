//! Files with mistakes, and the words for them: `tests/config/*.yml`, with the expected text beside each.
//! `UPDATE_GOLDEN=1 cargo test --test config` writes the texts anew.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pilotlight::config::{self, Overrides};

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("tests run in the crate's folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension() == Some(OsStr::new("yml")));
    files.sort();
    files
}

fn env(name: &str) -> Option<String> {
    match name {
        "WORD" => Some("eighty".to_owned()),
        "ZERO" => Some("0".to_owned()),
        _ => None,
    }
}

#[test]
fn every_mistake_is_shown_in_the_expected_words() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let files = files("tests/config");
    assert!(files.len() >= 25);
    let mut differ = Vec::new();
    for path in files {
        let errors = match config::load(&path, &Overrides::default(), &env) {
            Ok(config) => panic!("{} is taken for right: {config:#?}", path.display()),
            Err(errors) => format!("{errors}\n").replace(env!("CARGO_MANIFEST_DIR"), "$ROOT"),
        };
        let golden = path.with_extension("txt");
        if update {
            std::fs::write(&golden, errors).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != errors {
            differ.push(format!("{}:\n{errors}", golden.display()));
        }
    }
    assert!(differ.is_empty(), "not as expected:\n\n{}", differ.join("\n"));
}

#[test]
fn a_file_that_is_missing_says_where_it_was_looked_for() {
    let errors = config::load(Path::new("nowhere/jcloud.yml"), &Overrides::default(), &env).unwrap_err();
    let text = errors.to_string().replace(env!("CARGO_MANIFEST_DIR"), "$ROOT");
    assert!(text.contains("$ROOT/nowhere/jcloud.yml"), "{text}");
    assert!(text.contains("image: "), "{text}");
}

#[test]
fn samples_are_right() {
    let mut samples = files("config");
    // A sample with files beside it has a folder of its own.
    let folders = std::fs::read_dir("config").unwrap().map(|entry| entry.unwrap().path());
    samples.extend(folders.map(|folder| folder.join("jcloud.yml")).filter(|path| path.is_file()));
    for path in samples {
        if let Err(errors) = config::load(&path, &Overrides::default(), &|_| None) {
            panic!("{errors}");
        }
    }
}

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .arg("check")
        .args(arguments)
        .output()
        .expect("the binary starts")
}

#[test]
fn check_says_what_will_run_or_every_mistake() {
    let right = check(&["--config", "config/many.yml", "--listen", "7000", "--listen", "[::1]:7000"]);
    let out = String::from_utf8_lossy(&right.stdout);
    assert_eq!((right.status.code(), right.stderr.len()), (Some(0), 0));
    assert!(out.starts_with("listens on 0.0.0.0:7000, [::1]:7000"), "{out}");
    assert!(out.contains("shop.example.com/api"), "{out}");
    assert!(out.ends_with("\nredirects\n  example.com/ → https://shop.example.com (308)\n"), "{out}");

    let wrong = check(&["--config", "tests/config/several-at-once.yml"]);
    let err = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(1), 0));
    assert_eq!(err, std::fs::read_to_string("tests/config/several-at-once.txt").unwrap());

    let full = check(&["--config", "config/full.yml"]);
    let err = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(0));
    assert!(err.starts_with("warning: config/full.yml:") && err.contains("is not enforced"), "{err}");

    let process = check(&["--config", "config/single.yml", "--runtime", "process"]);
    assert_eq!(process.status.code(), Some(1));
}
