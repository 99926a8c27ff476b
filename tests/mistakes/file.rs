//! Mistakes in the file, as `pilotlight check` shows them. `tests/config` has each that there is.

use crate::folder::Folder;
use crate::golden::assert_golden;

async fn check(name: &str, yaml: &str) {
    let folder = Folder::new(yaml);
    let said = folder.sees(&["check"]).await;
    assert_golden(name, &said, &[(&folder.text(), "<folder>")]);
}

#[tokio::test]
async fn a_tab() {
    check("tab", "image: nginx\nautoscale:\n\tmin: 0\n").await;
}

#[tokio::test]
async fn a_key_that_is_indented_wrongly() {
    check("wrong-indentation", "image: nginx\nautoscale:\n  min: 0\n   max: 2\n").await;
    check("not-indented", "image: nginx\nautoscale:\nmin: 0\nmax: 2\n").await;
}

#[tokio::test]
async fn a_key_that_is_misspelt() {
    check("misspelt-key", "image: nginx\nauto_scale:\n  min: 0\n").await;
}

#[tokio::test]
async fn a_key_that_is_there_twice() {
    check("duplicate-key", "image: nginx\nport: 80\nhost: example.com\nport: 8080\n").await;
}

#[tokio::test]
async fn a_duration_in_words() {
    check("bad-duration", "image: nginx\ntimeout: 5 minutes\n").await;
}

#[tokio::test]
async fn fewer_at_most_than_at_least() {
    check("min-above-max", "image: nginx\nautoscale: {min: 3, max: 1}\n").await;
}

#[tokio::test]
async fn two_apps_on_one_route() {
    let yaml =
        "apps:\n  shop: {image: nginx, host: example.com}\n  blog: {image: nginx, host: example.com}\n";
    check("two-apps-one-route", yaml).await;
}

#[tokio::test]
async fn a_variable_that_is_not_set() {
    check("missing-variable", "image: nginx\nenv:\n  TOKEN: ${PILOTLIGHT_TEST_NO_SUCH_TOKEN}\n").await;
}

#[tokio::test]
async fn nothing_to_run() {
    check("nothing-to-run", "name: web\nhost: example.com\nautoscale: {min: 0}\n").await;
}

#[tokio::test]
async fn a_host_that_is_written_as_a_url() {
    check("host-is-a-url", "image: nginx\nhost: http://example.com\n").await;
    check("host-with-port", "image: nginx\nhost: example.com:8080\n").await;
}

#[tokio::test]
async fn memory_without_a_unit() {
    check("memory-without-unit", "image: nginx\nresources: {cpu: 1, memory: 512}\n").await;
}

#[tokio::test]
async fn a_folder_of_the_host_that_is_not_allowed() {
    check("host-path-not-allowed", "image: nginx\nvolumes: [\"/srv/data:/data\"]\n").await;
}

#[tokio::test]
async fn no_file_in_this_folder() {
    let folder = Folder::empty();
    for args in [["check"].as_slice(), &[]] {
        let said = folder.sees(args).await;
        // `serve` says who speaks, as programs do that may stand in a pipe or a unit.
        let said = said.strip_prefix("pilotlight: ").unwrap_or(&said);
        assert_golden("no-file", said, &[(&folder.text(), "<folder>")]);
    }
}
