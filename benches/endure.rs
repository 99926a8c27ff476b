//! What long streams and slow clients cost: `cargo bench --bench endure`.
//!
//! Ten gigabytes in each direction, in either HTTP, each byte looked at; then the waits of ordinary clients with and
//! without ten thousand others that send a byte a second, in turn. Fails where memory rises with a stream's length, or
//! where the slow ones double the p99 of the others.

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
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

/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_secs(1);

/// The slow ones begin one after the other, within the time that a head may take: they are not all cut at once.
const RAMP: Duration = Duration::from_secs(15);

/// Connections of ordinary clients, and how often each asks.
const OTHERS: u32 = 8;
const EVERY: Duration = Duration::from_millis(16);

/// How long they are measured in each case of a round.
const MEASURED: Duration = Duration::from_secs(8);

/// How long the slow ones are looked at alone.
const IDLE: Duration = Duration::from_secs(3);

const ROUNDS: usize = 5;

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

/// Whether others are not delayed by slow clients.
async fn slow_clients() -> bool {
    // Each has an app of its own: what the slow ones cost a replica is no affair of the proxy's.
    let one = "autoscale: {min: 1, max: 1}";
    let apps = yaml::apps(&[
        ("others", &[], &format!("host: others\n{one}")),
        ("slow", &[], &format!("host: slow\n{one}")),
    ]);
    let keys = format!("clients: {{connections: {}}}", 2 * SLOW);
    let proxy = Setup::process(&format!("{keys}\n{apps}")).start().await;
    for app in ["others", "slow"] {
        wait_for_async("the apps are up", || async { (proxy.app(app).await["ready"] == 1).then_some(()) })
            .await;
    }
    // What is made once, such as connections to the replica, belongs to neither.
    let mut loads =
        [EVERY, Duration::ZERO].map(|every| Load { every, without: Vec::new(), with: Vec::new() });
    for load in &loads {
        load.measured(&proxy).await;
    }
    for round in 1..=ROUNDS {
        for load in &mut loads {
            load.without.push(load.measured(&proxy).await);
        }
        let before = resident(proxy.pid());
        let slow = Slow::start(&proxy).await;
        let (start, used) = (Instant::now(), cpu_time(proxy.pid()));
        sleep(IDLE).await;
        let share =
            (cpu_time(proxy.pid()).saturating_sub(used)).as_secs_f64() / start.elapsed().as_secs_f64();
        for load in &mut loads {
            load.with.push(load.measured(&proxy).await);
        }
        let each = resident(proxy.pid()).saturating_sub(before) as f64 / SLOW as f64;
        let (bytes, cut) = slow.end(&proxy).await;
        println!(
            "round {round}: {bytes} slow bytes, {cut} times one was cut and came back; {each:.1} KiB resident each, {:.0} % of a core for all",
            100.0 * share
        );
        for load in &loads {
            load.print(&load.without[round - 1], &load.with[round - 1]);
        }
    }
    println!("all rounds:");
    let calm = loads.map(|load| load.print(&load.without.concat(), &load.with.concat()));
    !calm.contains(&false)
}

/// Ordinary clients, and their waits in ms, round by round.
struct Load {
    /// How often each asks; nothing: again as soon as it is answered.
    every: Duration,
    without: Vec<Vec<f64>>,
    with: Vec<Vec<f64>>,
}

impl Load {
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

    /// Prints both cases, and says whether the one is within its bound.
    fn print(&self, without: &[f64], with: &[f64]) -> bool {
        let name = if self.every.is_zero() { "as many as they can" } else { "500 a second" };
        let shares = |waits: &[f64]| [0.5, 0.99].map(|share| percentile(waits, share));
        let ([half, most], [half_beside, most_beside]) = (shares(without), shares(with));
        let ratio = most_beside / most;
        println!(
            "  {name}: {} requests without, p50 {half:.2} ms, p99 {most:.2} ms; {} with, p50 {half_beside:.2} ms, p99 {most_beside:.2} ms: {ratio:.2} times",
            without.len(),
            with.len()
        );
        ratio <= FACTOR
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
    running: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Those who have begun.
    begun: AtomicU64,
    bytes: AtomicU64,
    cut: AtomicU64,
}

impl Slow {
    /// Starts all of them, and waits until each has sent something.
    async fn start(proxy: &Proxy) -> Self {
        let (address, shared) = (proxy.address(), Arc::<Shared>::default());
        let for_all = Arc::clone(&shared);
        let running = tokio::spawn(on_a_thread(async move {
            let mut clients = JoinSet::new();
            for at in 0..SLOW {
                let shared = Arc::clone(&for_all);
                clients.spawn(async move {
                    let head: &[u8] = if at % 2 == 0 {
                        b"GET /ping HTTP/1.1\r\nHost: slow\r\nX: "
                    } else {
                        b"POST /slow-body HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n"
                    };
                    sleep(RAMP.mul_f64(at as f64 / SLOW as f64)).await;
                    shared.trickle(address, head).await;
                });
            }
            clients.join_all().await;
        }));
        let begun = || async { (shared.begun.load(Ordering::Relaxed) == SLOW as u64).then_some(()) };
        wait_for_async("all have begun", begun).await;
        Self { shared, running }
    }

    /// Ends all; how many bytes they have sent, and how often one was cut.
    async fn end(self, proxy: &Proxy) -> (u64, u64) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.running.await.expect("it does not panic");
        wait_for_async("nothing of them is left", || async {
            (proxy.app("slow").await["in_flight"] == 0).then_some(())
        })
        .await;
        (self.shared.bytes.load(Ordering::Relaxed), self.shared.cut.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// One slow client.
    async fn trickle(&self, address: std::net::SocketAddr, head: &[u8]) {
        let mut begun = false;
        while !self.stop.load(Ordering::Relaxed) {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("a socket can be told");
            stream.write_all(head).await.expect("somebody reads");
            if !begun {
                self.begun.fetch_add(1, Ordering::Relaxed);
                begun = true;
            }
            let mut answer = [0; 512];
            while !self.stop.load(Ordering::Relaxed) {
                // Whatever is said to it, it is that it has been too slow.
                if tokio::time::timeout(PAUSE, stream.read(&mut answer)).await.is_ok()
                    || stream.write_all(b"x").await.is_err()
                {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                self.bytes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
