//! Images that cannot be had, and what containers are to join.

use std::fs;

use crate::golden::{assert_golden, in_other_words, without_lines};
use crate::support::docker::need_app_image;
use crate::support::proxy::{Proxy, Setup};
use crate::support::registry::Registry;
use crate::trouble::told;

const ENGINE: &str = "the Docker Engine says: ";

async fn docker(keys: &str) -> Proxy {
    need_app_image().await;
    Setup::docker(&format!("name: web\nautoscale: {{min: 0, max: 1}}\n{keys}")).start().await
}

#[tokio::test]
async fn an_image_whose_name_is_misspelt() {
    let registry = Registry::open().await;
    let host = registry.address().to_string();
    let proxy = docker(&format!("image: {host}/pyhton:3.11\n")).await;
    let told = in_other_words(&told(&proxy).await, ENGINE, "\n", "<its words>");
    assert_golden("image-typo", &told, &[(&host, "<registry>")]);
}

#[tokio::test]
async fn an_image_in_capitals() {
    let proxy = docker("image: MyApp\n").await;
    let told = in_other_words(&told(&proxy).await, ENGINE, "\n", "<its words>");
    assert_golden("image-in-capitals", &told, &[]);
}

#[tokio::test]
async fn a_dockerfile_that_copies_what_is_not_there() {
    need_app_image().await;
    let setup = Setup::docker("name: web\nbuild: ./app\nport: 80\nautoscale: {min: 0, max: 1}\n");
    let folder = setup.dir().join("app");
    fs::create_dir(&folder).expect("a folder can be made");
    let dockerfile = "FROM pilotlight-test-app:latest\nCOPY requirements.txt /\n";
    fs::write(folder.join("Dockerfile"), dockerfile).expect("and a file in it");
    let proxy = setup.start().await;
    let told = in_other_words(&told(&proxy).await, "COPY failed: ", "\n", "<the engine's words>");
    let told = without_lines(&told, |line| line.trim_start().starts_with("---> "));
    assert_golden("dockerfile-copies-nothing", &told, &[(&folder.display().to_string(), "<folder>")]);
}

#[tokio::test]
async fn a_network_that_does_not_exist() {
    let proxy = docker("image: '{app}'\nnetworks: [pilotlight-no-such-network]\n").await;
    assert_golden("network-missing", &told(&proxy).await, &[]);
    let proxy = docker("image: '{app}'\ndocker: {network: pilotlight-no-such-network}\n").await;
    assert_golden("proxys-network-missing", &told(&proxy).await, &[]);
}
