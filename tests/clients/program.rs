//! Programs that are not ours: run to their end within a bounded time, and gone with all that they started.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::processes::Mark;

/// Longer than any of them takes on a machine that is busy with others, first imports included, and those of the app
/// that it wakes.
const PATIENCE: Duration = Duration::from_mins(4);

/// A program of the Python environment that the suite makes.
pub(crate) fn in_environment(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_pilotlight"));
    let target = binary.ancestors().nth(2).expect("a profile's folder lies in the target folder");
    let told = std::env::var_os("TEST_CLIENTS").map(PathBuf::from);
    let program = told.unwrap_or_else(|| target.join("clients/venv")).join("bin").join(name);
    assert!(program.exists(), "no {}: `tests/run prepare` installs the clients", program.display());
    program
}

/// One of the programs beside these tests.
pub(crate) fn ours(name: &str) -> String {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/programs");
    programs.join(name).display().to_string()
}

/// The words that run one of our Python programs.
pub(crate) fn python(name: &str, args: &[&str]) -> Vec<String> {
    let mut words = vec![in_environment("python").display().to_string(), ours(name)];
    words.extend(args.iter().map(|&arg| arg.to_owned()));
    words
}

/// The same for programs of the machine's.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Runs it to its end, and gives back what it wrote. Panics where it fails, and where it does not end.
pub(crate) async fn run(words: &[String]) -> Vec<u8> {
    // Whatever becomes of it, what it has started goes with the mark.
    let mark = Mark::new();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs([mark.env()]).env("PYTHONUNBUFFERED", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.spawn().unwrap_or_else(|error| {
        panic!("{}: {error}: `tests/run prepare` installs what tests need", words[0])
    });
    let output = timeout(PATIENCE, output.wait_with_output()).await;
    let output =
        output.unwrap_or_else(|_| panic!("it does not end: {words:?}")).expect("it can be waited for");
    assert!(
        output.status.success(),
        "{}: {words:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What it found: JSON, the last line that it writes.
pub(crate) async fn found(words: &[String]) -> Value {
    let written = run(words).await;
    let written = String::from_utf8_lossy(&written);
    let last = written.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {words:?}: {written}"))
}
