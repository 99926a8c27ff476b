//! What long streams and slow clients cost: `cargo bench --bench endure`.
//!
//! Ten gigabytes in each direction, in either HTTP, each byte looked at; then the waits of ordinary clients without
//! and with ten thousand others that send a byte a second, and with the same at another proxy: what they cost the cores
//! that all share. Fails where memory rises with a stream's length, or where the slow ones more than double the p99 of the
//! others.

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use support::flow::Count;
use support::fountain::Fountain;
use support::h2::H2;
use support::http::{Call, Connection};
use support::memory::{peak, resident};
use support::proxy::{Proxy, Setup};
use support::streams::{Client, Way};
use support::wait::wait_for_async;
use support::yaml;

use crate::figures::{cpu_time, ms, percentile};

const LENGTH: u64 = 10_000_000_000;

/// Until buffers have the size that they will have.
const WARM: u64 = 64 << 20;

/// How much more memory there may be behind a long stream than behind a short one, in KiB.
const RISE: u64 = 8 << 10;

const SLOW: usize = 10_000;

/// Between the bytes of two slow clients: each sends one a second.
const TURN: Duration = Duration::from_micros(100);

/// Turns within which the slow ones begin, as many as a head may take: they are not all cut at once.
const RAMP: usize = 15;

/// Connections of ordinary clients, and how often each asks.
const OTHERS: u32 = 8;
const EVERY: Duration = Duration::from_millis(16);

/// How long they are measured in each case of a round.
const MEASURED: Duration = Duration::from_secs(6);

/// How long the slow ones are looked at alone.
const ALONE: Duration = Duration::from_secs(3);

const ROUNDS: usize = 2;

/// How much longer the p99 may be.
const FACTOR: f64 = 2.0;

fn main() -> ExitCode {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("up to the hard limit is allowed");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let flat = runtime.block_on(streams());
    let calm = runtime.block_on(slow_clients());
    if flat && calm { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether memory stays flat.
async fn streams() -> bool {
    let replica = Fountain::start();
    let mut flat = true;
    for way in [Way::Down, Way::Up, Way::Both] {
        for http2 in [false, true] {
            // One for each: its peak is its own.
            let proxy = Setup::process(&replica.yaml("")).start().await;
            proxy.ready(1).await;
            let client = if http2 {
                let client = H2::clear(&proxy).await;
                client.get("/.pilotlight/health").await;
                Client::Http2(client)
            } else {
                Client::Http1(proxy.address())
            };
            client.carry(way, WARM, &Count::default()).await;
            let before = (resident(proxy.pid()), peak(proxy.pid()));
            let start = Instant::now();
            client.carry(way, LENGTH, &Count::default()).await;
            let took = start.elapsed().as_secs_f64();
            let after = (resident(proxy.pid()), peak(proxy.pid()));
            let http = if http2 { "HTTP/2" } else { "HTTP/1.1" };
            println!(
                "{LENGTH} bytes {way:?}, {http}: {took:.1} s, {:.2} GB/s; resident: {} KiB before (peak {}), {} KiB after (peak {})",
                LENGTH as f64 / 1e9 / took,
                before.0,
                before.1,
                after.0,
                after.1
            );
            flat &= after.1.saturating_sub(before.1) < RISE;
        }
    }
    println!("{}", if flat { "memory is flat" } else { "MEMORY RISES WITH A STREAM'S LENGTH" });
    flat
}

/// Whether slow clients do not delay others.
async fn slow_clients() -> bool {
    let (proxy, other) = (with_apps().await, with_apps().await);
    let mut loads = [EVERY, Duration::ZERO].map(Load::new);
    // What is made once, such as connections to the replica, belongs to no case.
    for load in &loads {
        load.measured(&proxy).await;
    }
    for round in 1..=ROUNDS {
        for load in &mut loads {
            load.without.push(load.measured(&proxy).await);
        }
        let before = resident(proxy.pid());
        let slow = Slow::start(&proxy).await;
        let used = cpu_time(proxy.pid());
        sleep(ALONE).await;
        let used = (cpu_time(proxy.pid()).saturating_sub(used)).as_secs_f64() / ALONE.as_secs_f64();
        for load in &mut loads {
            load.with.push(load.measured(&proxy).await);
        }
        let each = resident(proxy.pid()).saturating_sub(before) as f64 / SLOW as f64;
        let (bytes, cut) = slow.end(&proxy).await;
        let slow = Slow::start(&other).await;
        for load in &mut loads {
            load.elsewhere.push(load.measured(&proxy).await);
        }
        slow.end(&other).await;
        println!(
            "round {round}: {SLOW} slow clients, {bytes} bytes, {cut} times one was cut and came back; \
             {each:.1} KiB resident each, {:.0} % of a core for all",
            100.0 * used
        );
    }
    let calm: Vec<bool> = loads.iter().map(Load::print).collect();
    !calm.contains(&false)
}

/// A proxy with an app for either kind of client: what slow ones cost a replica is no affair of the proxy's.
async fn with_apps() -> Proxy {
    let keys = |name| format!("host: {name}\nautoscale: {{min: 1, max: 1}}");
    let apps = yaml::apps(&[("others", &[], &keys("others")), ("slow", &[], &keys("slow"))]);
    let yaml = format!("clients: {{connections: {}}}\n{apps}", 2 * SLOW);
    let proxy = Setup::process(&yaml).start().await;
    for app in ["others", "slow"] {
        let up = || async { (proxy.app(app).await["ready"] == 1).then_some(()) };
        wait_for_async("the apps are up", up).await;
    }
    proxy
}

/// Ordinary clients, and their waits in ms, round by round.
struct Load {
    /// How often each asks; nothing: again as soon as it is answered.
    every: Duration,
    without: Vec<Vec<f64>>,
    with: Vec<Vec<f64>>,
    /// The slow ones are at another proxy, on the same cores.
    elsewhere: Vec<Vec<f64>>,
}

impl Load {
    fn new(every: Duration) -> Self {
        Self { every, without: Vec::new(), with: Vec::new(), elsewhere: Vec::new() }
    }

    /// What they wait for now.
    async fn measured(&self, proxy: &Proxy) -> Vec<f64> {
        let (address, every) = (proxy.address(), self.every);
        on_a_thread(async move {
            let mut asking = JoinSet::new();
            let start = tokio::time::Instant::now();
            for at in 0..OTHERS {
                asking.spawn(async move {
                    let mut connection = Connection::open(address).await.expect("it listens");
                    let mut waits = Vec::new();
                    let mut turn = start + every * at / OTHERS;
                    while start.elapsed() < MEASURED {
                        tokio::time::sleep_until(turn).await;
                        turn += every;
                        let asked = Instant::now();
                        let call = Call::get(address, "/ping").host("others");
                        let answer = connection.send(call).await.expect("an answer");
                        waits.push(ms(asked.elapsed()));
                        assert_eq!(answer.status, 200, "{}", answer.reason());
                    }
                    waits
                });
            }
            asking.join_all().await.concat()
        })
        .await
    }

    /// Prints all cases, and says whether the slow ones are within their bound.
    fn print(&self) -> bool {
        let name = if self.every.is_zero() { "as many as they can" } else { "500 a second" };
        println!("others, {name}:");
        let cases = [("without", &self.without), ("with", &self.with), ("elsewhere", &self.elsewhere)];
        let [without, with, elsewhere] = cases.map(|(case, rounds)| {
            let each = rounds.iter().map(|waits| percentile(waits, 0.99)).collect::<Vec<_>>();
            let all = rounds.concat();
            let [half, most] = [0.5, 0.99].map(|share| percentile(&all, share));
            println!(
                "  {case:<9} {:>7} requests, p50 {half:.2} ms, p99 {most:.2} ms (by round: {each:.2?})",
                all.len()
            );
            most
        });
        println!("  p99 with / without: {:.2}; with / elsewhere: {:.2}", with / without, with / elsewhere);
        with <= FACTOR * without
    }
}

/// Work that no other is to delay, but for the cores that all share.
async fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = tell.send(runtime.expect("a runtime").block_on(work));
    });
    told.await.expect("it does not panic")
}

/// Slow clients: half of them send heads, half bodies. One that is cut comes back.
struct Slow {
    shared: Arc<Shared>,
    running: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Those who have begun.
    begun: AtomicUsize,
    bytes: AtomicU64,
    cut: AtomicU64,
}

impl Slow {
    /// Starts all of them, and waits until each has begun.
    async fn start(proxy: &Proxy) -> Self {
        let (address, shared) = (proxy.address(), Arc::<Shared>::default());
        let for_all = Arc::clone(&shared);
        let running = thread::spawn(move || for_all.trickle(address));
        let begun = || async { (shared.begun.load(Ordering::Relaxed) == SLOW).then_some(()) };
        wait_for_async("all have begun", begun).await;
        Self { shared, running }
    }

    /// Ends all; how many bytes they have sent, and how often one was cut.
    async fn end(self, proxy: &Proxy) -> (u64, u64) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.running.join().expect("it does not panic");
        let left = || async { (proxy.app("slow").await["in_flight"] == 0).then_some(()) };
        wait_for_async("nothing of them is left", left).await;
        (self.shared.bytes.load(Ordering::Relaxed), self.shared.cut.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// All of them, one after the other: clients that know nothing of each other send no two bytes at once, which timers
    /// of a millisecond would.
    fn trickle(&self, address: SocketAddr) {
        let mut clients: Vec<Option<TcpStream>> = std::iter::repeat_with(|| None).take(SLOW).collect();
        let start = Instant::now();
        for turn in 0_u32.. {
            let at = turn as usize % SLOW;
            #[expect(
                clippy::disallowed_methods,
                reason = "a turn is a time, and a timer of the runtime is too coarse"
            )]
            thread::sleep((start + TURN * turn).saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let client = &mut clients[at];
            if client.as_mut().is_some_and(|stream| !self.sends(stream)) {
                self.cut.fetch_add(1, Ordering::Relaxed);
                *client = Some(begin(address, at));
            } else if client.is_none() && at % RAMP <= turn as usize / SLOW {
                self.begun.fetch_add(1, Ordering::Relaxed);
                *client = Some(begin(address, at));
            }
        }
    }

    /// One more byte; not where it was told something, which is that it has been too slow.
    fn sends(&self, stream: &mut TcpStream) -> bool {
        let silent = stream.read(&mut [0; 512]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let sent = silent && stream.write_all(b"x").is_ok();
        self.bytes.fetch_add(u64::from(sent), Ordering::Relaxed);
        sent
    }
}

/// A slow client's connection, with what it sends at once.
fn begin(address: SocketAddr, at: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket can be told");
    let head: &[u8] = if at.is_multiple_of(2) {
        b"GET /ping HTTP/1.1\r\nHost: slow\r\nX: "
    } else {
        b"POST /slow-body HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n"
    };
    stream.write_all(head).expect("somebody reads");
    stream.set_nonblocking(true).expect("a socket can be told");
    stream
}
