//! Where the lines go: the file, its rotation, and the end of the proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::metrics::{Scrape, wait_for_sample};
use crate::support::proxy::Setup;
use crate::support::wait::wait_until;
use crate::support::yaml;
use crate::{COMBINED, DROPPED, JSON, LOG, line, lines, proxy};

#[tokio::test]
async fn a_log_that_is_moved_away_is_begun_anew_and_no_line_is_lost() {
    let mut proxy = proxy(&[], COMBINED).await;
    let (address, log) = (proxy.address(), proxy.dir().join(LOG));
    let load = load::steady(50.0, move |at| Call::get(address, &format!("/id?at={at}")).send());
    let mut files = Vec::new();
    for round in 1..=3 {
        wait_until("there is something to move", || !lines(&log).is_empty()).await;
        let old = log.with_extension(round.to_string());
        fs::rename(&log, &old).unwrap();
        proxy.signal(Signal::HUP);
        wait_until("it is begun anew", || log.exists()).await;
        files.push(old);
    }
    let outcomes = load.end().await;
    outcomes.assert_all_ok();
    assert_eq!(get(address, "/status?code=202").await.status, 202);
    assert!(line(&proxy, "/status?code=202").await.contains(" 202 "), "it is in the new file");

    assert_eq!(proxy.stop().await.code(), Some(0));
    files.push(log);
    let all: Vec<_> = files.iter().flat_map(|file| lines(file)).collect();
    for at in 0..outcomes.sent() {
        let asked = format!("\"GET /id?at={at} HTTP/1.1\" 200 ");
        let found = all.iter().filter(|line| line.contains(&asked)).count();
        assert_eq!(found, 1, "lines of {asked}");
    }
    assert_eq!(all.len(), outcomes.sent() + 1, "and nothing else");
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_again_goes_on_where_it_was() {
    let setup = Setup::process(&yaml::app(&[], "access_log: logs/access.log"));
    fs::create_dir(setup.dir().join("logs")).unwrap();
    let proxy = setup.start().await;
    fs::rename(proxy.dir().join("logs"), proxy.dir().join("gone")).unwrap();
    proxy.signal(Signal::HUP);
    let said = "cannot open the access log again";
    wait_until("it is reported", || proxy.log().contains(said)).await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    let old = proxy.dir().join("gone/access.log");
    wait_until("it goes on", || lines(&old).iter().any(|line| line.contains("/id"))).await;
}

#[tokio::test]
async fn what_has_ended_is_in_the_file_when_the_proxy_has() {
    let mut proxy = proxy(&[], &format!("{JSON}\nworkers: 2")).await;
    let address = proxy.address();
    let outcomes = load::at_once(40, |at| Call::get(address, &format!("/id?at={at}.")).send()).await;
    outcomes.assert_all_ok();
    let running = tokio::spawn(Call::get(address, "/sleep?ms=1000").send());
    wait_until("the app has it", || proxy.report().count("start") == 41).await;
    assert_eq!(proxy.stop().await.code(), Some(0));
    assert_eq!(running.await.unwrap().unwrap().status, 200);
    let lines = lines(&proxy.dir().join(LOG));
    let targets = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["target"].take());
    let mut targets: Vec<_> = targets.map(|target| target.to_string()).collect();
    targets.sort();
    let asked = (0..40).map(|at| format!("\"/id?at={at}.\"")).chain(["\"/sleep?ms=1000\"".to_owned()]);
    let mut asked: Vec<_> = asked.collect();
    asked.sort();
    assert_eq!(targets, asked);
}

#[tokio::test]
async fn what_is_cut_at_the_end_has_its_line() {
    let mut proxy = proxy(&[], &format!("{COMBINED}\nshutdown_timeout: 300ms")).await;
    let stuck = tokio::spawn(Call::get(proxy.address(), "/sleep?ms=600000").send());
    wait_until("the app has it", || proxy.report().count("start") == 1).await;
    assert_eq!(proxy.stop().await.code(), Some(0));
    assert!(stuck.await.unwrap().is_err());
    let lines = lines(&proxy.dir().join(LOG));
    assert!(lines.len() == 1 && lines[0].contains("\"GET /sleep?ms=600000 HTTP/1.1\""), "{lines:?}");
}

#[tokio::test]
async fn a_start_goes_on_with_the_file_of_the_one_before() {
    let mut proxy = proxy(&[], COMBINED).await;
    for start in 1..=2 {
        assert_eq!(get(proxy.address(), "/id").await.status, 200);
        assert_eq!(proxy.stop().await.code(), Some(0));
        assert_eq!(lines(&proxy.dir().join(LOG)).len(), start);
        proxy.start().await;
    }
}

/// It tells who has asked for what.
#[tokio::test]
async fn the_file_is_for_its_owner_and_his_group() {
    let open = ["sh", "-c", "umask 0; exec \"$0\" \"$@\""].map(str::to_owned);
    let proxy = Setup::process(&yaml::app(&[], COMBINED)).within(open.to_vec()).start().await;
    let mode = fs::metadata(proxy.dir().join(LOG)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "{mode:o}");
}

#[tokio::test]
async fn where_it_cannot_be_is_told_at_the_start() {
    for (path, hint) in [
        ("missing/access.log", "make its folder first"),
        // A folder that is there.
        ("report", "name a file in it with `access_log`"),
    ] {
        let setup = Setup::process(&yaml::app(&[], &format!("access_log: {path}")));
        let (status, log) = setup.fail().await;
        assert_eq!(status.code(), Some(1), "{path}: {log}");
        let said = log.lines().find(|line| line.contains("cannot write the access log /")).unwrap_or(&log);
        assert!(said.contains(&format!("/{path}: ")) && said.ends_with(hint), "{said}");
    }
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted_and_hinder_nobody() {
    let proxy = proxy(&[], "access_log: /dev/full").await;
    Scrape::of(&proxy).await.assert(&[(DROPPED, 0.0)]);
    for count in 1..=3_u8 {
        assert_eq!(get(proxy.address(), "/id").await.status, 200);
        wait_for_sample(&proxy, DROPPED, f64::from(count)).await.assert_sound();
    }
    let log = proxy.log();
    assert_eq!(log.matches("cannot write the access log").count(), 1, "it is said once: {log}");
}

#[tokio::test]
async fn who_asks_for_none_has_neither_a_file_nor_a_figure() {
    let mut proxy = proxy(&[], "").await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    assert_eq!(Scrape::of(&proxy).await.get(DROPPED), None);
    assert_eq!(proxy.stop().await.code(), Some(0));
    let names = fs::read_dir(proxy.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["jcloud.yml", "proxy.log", "report", "state"]);
}

#[tokio::test]
async fn stdout_is_no_file() {
    let setup = Setup::process(&yaml::app(&[], "access_log: stdout"));
    // Apart from standard error, where the proxy's own log goes.
    let out = setup.dir().join("out");
    let apart = format!("exec \"$0\" \"$@\" > '{}'", out.display());
    let proxy = setup.within(vec!["sh".to_owned(), "-c".to_owned(), apart]).start().await;
    proxy.signal(Signal::HUP);
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    wait_until("the line is there", || !lines(&out).is_empty()).await;
    let lines = lines(&out);
    assert!(lines.len() == 1 && lines[0].contains("\"GET /id HTTP/1.1\" 200 "), "{lines:?}");
    assert!(!proxy.dir().join("stdout").exists());
}
