//! What the kernel says of this machine's TCP connections.

use std::fs;
use std::net::SocketAddr;

use super::app::Report;

/// A connection's state in the kernel's table.
const ESTABLISHED: &str = "01";

/// How many connections there are, or lately were, to the replica that listened first.
pub(crate) fn to_first_replica(report: &Report) -> usize {
    rows_to_first_replica(report).len()
}

/// How many of them neither end has closed.
pub(crate) fn open_to_first_replica(report: &Report) -> usize {
    rows_to_first_replica(report).iter().filter(|row| row[3] == ESTABLISHED).count()
}

fn rows_to_first_replica(report: &Report) -> Vec<Vec<String>> {
    let listening = report.events("listening");
    let port = listening[0]["port"].as_u64().expect("it says where it listens");
    let port = format!(":{port:04X}");
    rows().into_iter().filter(|row| row.get(2).is_some_and(|it| it.ends_with(&port))).collect()
}

/// Which timer runs at one end of a connection: `02` is the one for silence, `00` is none.
pub(crate) fn timer(of: SocketAddr, peer: SocketAddr) -> String {
    let [of, peer] = [of, peer].map(|end| format!(":{:04X}", end.port()));
    let rows = rows();
    let row = rows.iter().find(|row| row[1].ends_with(&of) && row[2].ends_with(&peer));
    row.expect("the connection stands")[5].chars().take(2).collect()
}

/// How many bytes wait in the kernel on connections that have one of these ports at either end: those that were written
/// and have not arrived, and those that have and were not read.
pub(crate) fn waiting_at(ports: &[u16]) -> u64 {
    let ports: Vec<_> = ports.iter().map(|port| format!(":{port:04X}")).collect();
    let among = |end: &str| ports.iter().any(|port| end.ends_with(port));
    // What listens has counts of another kind there.
    let rows = rows().into_iter().filter(|row| row[3] == ESTABLISHED && (among(&row[1]) || among(&row[2])));
    let bytes = |hex: &str| u64::from_str_radix(hex, 16).expect("the kernel writes numbers");
    rows.filter_map(|row| row[4].split_once(':').map(|(out, come)| bytes(out) + bytes(come))).sum()
}

fn rows() -> Vec<Vec<String>> {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}
