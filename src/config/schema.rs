//! The file as written: every key with its kind of value, its default and its meaning, in one table.
//!
//! The key check, the reading and the README's table are all made from here. Defaults stand here for people;
//! `resolve` fills them in, and a test holds the two together.

use std::net::SocketAddr;

use super::access_log::AccessLog;
use super::boost::Until;
use super::choice::{Instance, LogLevel};
use super::clients::Peer;
use super::edge::{Destination, RedirectStatus};
use super::env::{EnvFile, EnvMap};
use super::headers;
use super::reader::Reader;
use super::route::{PathPrefix, RequestPath};
use super::slot::Slot;
use super::spec::{
    AccessFormat, Affinity, Command, HostPattern, ListenAddress, LogFormat, Metric, Origin, Probe, Protocol,
    RouteSpec, RuntimeKind, UnknownHost, Volume,
};
use super::suggest::{KeyDoc, Section};
use super::table::{Table, table};
use super::value::{Any, HostPath, Int, LARGEST, Many, Memory, Number, Size, SocketPath, Time, Word};

/// The longest time that any key takes, in milliseconds: a day.
const DAY: u64 = 86_400_000;
/// A time of any length up to a day.
pub(crate) type AnyTime = Time<0, DAY>;
/// A time that cannot be nothing.
pub(crate) type SomeTime = Time<1, DAY>;

table! {
    /// Keys of the proxy as a whole; at the top level in both forms.
    ProxyFile, "" {
        listen: Many<ListenAddress>, "`0.0.0.0:8080`; with `tls` none",
            "Public address for HTTP without TLS, or a list of them: `0.0.0.0:80`, `[::]:80`, `:80`, `80`, \
             `unix:/run/pilotlight/http.sock`";
        tls: TlsFile, "", "TLS, see below";
        trusted_proxies: Many<Peer>, "none",
            "Proxies before this one, whose `X-Forwarded-*` and `Forwarded` are taken for true: networks (`10.0.0.0/8`), \
             addresses, `unix` for who comes by a Unix socket; one or a list";
        proxy_protocol: Many<Peer>, "none",
            "Load balancers whose connections begin with a PROXY header (version 1 or 2): networks, addresses, `unix`; \
             one or a list. They must send it, and nobody else's is taken";
        preserve_header_case: bool, "`false`",
            "Keep upper and lower case of HTTP/1 header names on their way, for clients and apps that mind";
        clients: ClientsFile, "", "What one client may do, see below";
        workers: Int<1, 1024>, "the host's cores", "Threads that move requests";
        redirect: Many<RedirectFile>, "", "Hosts and paths that have moved, a list, see below";
        unknown_host: UnknownHost, "`404`",
            "What a client gets that asks for a host that no route names: a status from 400 to 599, or `close`: its \
             connection is closed without an answer. To be at home for every host, an app or a redirect takes `\"*\"`";
        runtime: RuntimeKind, "`docker`",
            "What replicas are: `docker` containers, or `process`, child processes of the proxy that are given `$PORT`, or `$SOCKET` \
             (`image`, `build`, `volumes`, `networks` and the instance's limits then have no effect)";
        docker: DockerFile, "", "The Docker Engine, see below";
        admin: AdminFile, "", "The admin API, see below";
        state_dir: HostPath, "`.pilotlight`",
            "Folder with the proxy's identity, by which it knows its containers again";
        shutdown_timeout: AnyTime, "`30s`", "How long a stopping proxy waits for requests that are under way";
        log: LogFile, "", "What is logged, see below";
        access_log: AccessLog, "none", "A line for each request: a file or `stdout`, or what is below";
    }
}

table! {
    /// Keys of an app.
    AppFile, "" {
        name: Word, "the folder's name; its key under `apps`", "Name in logs, labels and the admin API";
        image: Word, "none", "Image to run, pulled if it is missing; instead of `build`";
        build: HostPath, "`.` where a Dockerfile stands beside the file", "Folder with a Dockerfile; instead of `image`";
        upstream: Many<Origin>, "none",
            "Where something listens that is not ours to start, in place of all that is about replicas: \
             `http://name:port`, or a list. See below";
        command: Command, "the image's",
            "A list is run as it is, a string by `sh -c`; runtime process needs one. `$PORT` is left to the shell; \
             write `$${PORT}` for one in braces";
        port: Int<1, 65535>, "the image's only EXPOSE, else 8080", "Port that the replica listens on";
        socket: bool, "`false`",
            "Runtime process alone: each replica listens on a Unix socket of its own in `state_dir`, whose path it is \
             given in `$SOCKET`, and has no `$PORT`; instead of `port`";
        host: Many<HostPattern>, "`\"*\"`",
            "Host name, or a list: `www.example.com`, `\"*.example.com\"` for every name below, `\"*\"` for any. \
             Under `apps`, an app needs a `host` or a `path` unless another `needs` it; no two apps may claim the same of both";
        hosts: Many<HostPattern>, "", "The same as `host`";
        path: Many<PathPrefix>, "`/`", "Path prefix of whole segments, or a list; the longest that fits wins";
        paths: Many<PathPrefix>, "", "The same as `path`";
        strip_prefix: bool, "`false`", "Take `path` off before the request goes on to the app";
        headers: HeadersFile, "", "Headers that are changed on their way, see below";
        instance: Instance, "`C3`",
            "Size of a replica in cores and memory: C1 0.1/0.2G, C2 0.5/1G, C3 1/2G, C4 2/4G, C5 4/8G, C6 8/16G, \
             C7 16/32G, C8 32/64G (G: 2^30 bytes); with NVIDIA GPUs G1 4/14G and one that is shared, G2 4/14G and 1, \
             G3 8/24G and 2, G4 16/56G and 4; instead of `resources`";
        resources: ResourcesFile, "", "Size of a replica by number, see below; instead of `instance`";
        env: EnvMap, "`{}`", "Environment variables; they win over `env_file`";
        env_file: Any<EnvFile>, "none", "File of `NAME=value` lines, or a list; the later one wins";
        volumes: Any<Volume>, "none",
            "Mounts: `name:/path`, `/host/path:/path`, `./beside:/path`, with `:ro` for read-only. \
             Paths of the host only where `docker.allow` names them or a folder above";
        networks: Any<Word>, "none", "Docker networks that replicas join beside the proxy's; they must exist";
        disk_size: Size<{ 1 << 20 }, LARGEST>, "none",
            "A workspace that stays, at `/data/workspace` (`JCLOUD_WORKSPACE` says where), shared by all replicas and \
             kept when the app goes; the size is not enforced";
        protocol: Protocol, "`auto`",
            "What replicas speak: `http1`, `h2c` (HTTP/2 without TLS), or `auto`: gRPC by HTTP/2, all else by HTTP/1.1";
        health: HealthFile, "", "How a replica shows that it is ready, see below";
        timeout: SomeTime, "`120s`",
            "From a request's arrival to the start of its response, time held included; past it 504. Streams and \
             WebSockets go on";
        rate_limit: RateFile, "", "How often one client may ask, see below";
        max_body: Size<0, LARGEST>, "no limit", "Size of a request's body; larger: 413";
        body_timeout: SomeTime, "`60s`",
            "How long a client may stop in the middle of a body, until the response begins; longer: 408. gRPC calls may";
        websocket: WebSocketFile, "", "How long a WebSocket may stay open, see below";
        server_timing: bool, "`false`",
            "Tell a client that has waited for a replica where the time went, in `Server-Timing`, which browsers show";
        hold: HoldFile, "", "Requests that wait for a replica, see below";
        max_concurrency: Int<1, 1_000_000>, "no limit", "Requests in flight on one replica; more of them wait";
        affinity: Affinity, "none",
            "What binds a client to a replica: `cookie` (one of the proxy's own), `ip`, or `{header: X-User}`. A replica \
             that is full, failing or gone is passed over: who is bound to it gets another, and does not wait";
        slow_start: AnyTime, "`0s`",
            "How long a replica that has become ready beside others gets less than its share, from a tenth up";
        keep_alive: Time<0, 3_600_000>, "`4s`",
            "How long an idle connection to a replica is kept; keep it below the app's own limit (uvicorn and Node: 5 s)";
        drain_timeout: AnyTime, "`30s`", "How long a deploy, a removal or a shutdown waits for open requests";
        stop_grace: AnyTime, "`10s`", "Between SIGTERM and SIGKILL";
        boost: BoostFile, "", "Cores for a replica that starts, see below";
        needs: Any<Word>, "none",
            "Other apps of this file, of which each has a replica that is ready before one of this app starts, and stays until \
             this app is out. Replicas find them by name (`db:5432`) on the proxy's network. Such an app may be without \
             `host` and `path`: nobody reaches it from outside then. `[]` for none, whatever `defaults` say";
        autoscale: AutoscaleFile, "", "How many replicas, see below";
        autoscale_min: Int<0, 10_000>, "", "Older spelling of `autoscale.min`";
        autoscale_max: Int<1, 10_000>, "", "Older spelling of `autoscale.max`";
    }
}

table! {
    /// Size of a replica by number.
    ResourcesFile, "resources" {
        cpu: Number<10, 1_024_000, false>, "`1`", "Cores; 0.01 is the least";
        memory: Memory, "`2G`", "Memory: bytes, `512M`, `2G` or `1Gi` (powers of 1024)";
    }
}

table! {
    /// Cores for a replica that starts.
    BoostFile, "boost" {
        cpu: Number<0, 1_024_000, false>, "`2`",
            "Cores that it may use, no more than the host's; where its instance has more, that counts. Containers share \
             cores that are scarce, so it takes what others leave. `0`: its instance's alone. Runtime process has no limits";
        until as "for": Until, "`ready+5s`", "How long: until it is `ready`, or so much longer";
    }
}

table! {
    /// How a replica shows that it is ready.
    HealthFile, "health" {
        path: RequestPath, "none: a connection is enough", "Path that must answer 2xx or 3xx";
        probe: Probe, "`path`",
            "What shows that a replica that starts is ready: `path`, or `request`: as soon as it takes connections, the first \
             request that waits and may be sent again (`GET`, say, without a body) goes ahead to it. What it answers counts as \
             ready, unless it is 502, 503 or 504: then the request waits on with the others, for `path`";
        interval: Time<100, DAY>, "`10s`", "Between two checks of a ready replica";
        timeout: SomeTime, "`5s`", "For one check";
        start_timeout: SomeTime, "`90s`", "From the start of a replica to its first good check";
    }
}

table! {
    /// Requests that wait for a replica.
    HoldFile, "hold" {
        max: Int<0, 1_000_000>, "`1000`", "How many may wait; 0 refuses at once";
        timeout: SomeTime, "60s; 10s with `upstream`",
            "How long one may wait. With `upstream`: for one to come back, and later requests are refused at once";
    }
}

table! {
    /// Headers that are changed on their way.
    HeadersFile, "headers" {
        request: HeaderChangesFile, "", "In requests on their way to the app, see below";
        response: HeaderChangesFile, "none",
            "The same three keys: in responses on their way to the client, those included that the proxy gives in the \
             app's stead";
    }
}

table! {
    /// What is changed in the headers of one direction.
    HeaderChangesFile, "headers.request" {
        remove: Many<headers::Name>, "none", "Headers to take off, one name or a list; this comes first";
        set: headers::Lines<headers::Line>, "none",
            "Headers to put in the place of any of that name: `Name: value`. Not those that belong to one connection \
             (`Connection`, `Content-Length`, …) nor `X-Forwarded-*`; `Host` may be set";
        add: headers::Lines<Many<headers::Line>>, "none", "Headers to put beside any of that name: a value, or a list";
    }
}

table! {
    /// How often one client may ask.
    RateFile, "rate_limit" {
        rps: Number<1, 1_000_000_000, false>, "",
            "Requests per second of one address (of IPv6: of its /64); more: 429. They count for nothing else";
        burst: Int<1, 1_000_000>, "`rps`, rounded up", "Requests at once of one that has asked for less";
    }
}

table! {
    /// How long a WebSocket may stay open.
    WebSocketFile, "websocket" {
        idle_timeout: SomeTime, "none", "How long neither side may send a message before both are closed; pings are none";
        max_age: SomeTime, "none", "How long one may be open at all";
        counts: bool, "`true`",
            "Whether an open one keeps the app awake. If not, it is closed before the replica goes; a browser that opens \
             another at once wakes the app again";
    }
}

table! {
    /// How many replicas.
    AutoscaleFile, "autoscale" {
        min: Int<0, 10_000>, "`1`; `0` for an app without a route", "Fewest replicas; 0 lets an idle app go out";
        max: Int<1, 10_000>, "`10`; `1` for an app without a route", "Most replicas";
        metric: Metric, "`cpu`",
            "What is held to the target: `rps` (requests per second), `concurrency` (requests in flight), `cpu` or \
             `memory` (per cent of the instance's)";
        target: Number<0, 1_000_000_000, true>, "rps 10, concurrency 100, cpu 70, memory 70",
            "What one replica should carry";
        stable_window: Time<1000, DAY>, "`60s`", "Window that decides in calm weather";
        panic_window: Time<100, DAY>, "a tenth of `stable_window`", "Window that decides in a rush";
        idle: AnyTime, "`60s`", "From the end of the last request to zero replicas, with `min: 0`";
        freeze_after: SomeTime, "never",
            "The same to replicas that are paused: they keep their memory and get no CPU until the next request, which has \
             them back in milliseconds; at `idle` they are stopped. Shorter than `idle`";
        remove_after: AnyTime, "`24h`",
            "From a replica's stop to its removal: until then its container is kept, with its file system, and starts \
             faster than a new one; 0s: at once. Runtime process keeps nothing";
        warm_pool: Int<0, 10_000>, "`0`",
            "While the app is in use, replicas that are paused instead of stopped when fewer are wanted, for the next rush";
        idle_below: Number<0, 1_000_000_000, false>, "`0`",
            "A rate (requests per second) below this counts as idle; 0: only silence does";
        scale_down_delay: AnyTime, "`0s`", "How long a lower count must have been right before replicas are stopped";
    }
}

table! {
    /// TLS.
    TlsFile, "tls" {
        listen: Many<ListenAddress>, "0.0.0.0:8443", "Public address for TLS, or a list of them";
        cert: HostPath, "", "PEM file with the certificate, and behind it what leads to its authority; with `key`";
        key: HostPath, "", "PEM file with the certificate's private key";
        folder: HostPath, "",
            "Folder with pairs `NAME.crt` (or `.pem`) and `NAME.key`, in place of `cert` and `key`: a client gets the one \
             that names its host, or the first by name. Files are read again when they change";
        redirect_http: bool, "false", "Send who comes without TLS to the same address with it";
        hsts: Time<0, 63_072_000_000>, "none",
            "For how long browsers are told to come by TLS alone (`Strict-Transport-Security`), such as `8760h`";
    }
}

table! {
    /// What one client may do.
    ClientsFile, "clients" {
        header_bytes: Size<1024, 1_048_576>, "`64K`", "Size of a request's head; larger: 431";
        headers: Int<1, 10_000>, "`100`", "Headers of a request; more: 431";
        uri_bytes: Size<16, 65_534>, "`16K`", "Length of a request's target; longer: 414";
        header_timeout: SomeTime, "`15s`", "From the first byte of a head to its last, and for a TLS handshake; slower: 408";
        idle_timeout: SomeTime, "`75s`", "How long a connection may be idle between two requests";
        write_timeout: SomeTime, "`180s`",
            "How long a client may take nothing of what is written to it; then its connection is cut";
        connections: Int<1, 10_000_000>, "half of the limit on open files",
            "Clients' connections at once; more are told 503 and closed";
        connections_per_client: Int<1, 10_000_000>, "no limit", "The same of one address; more are told 503 and closed";
        requests_per_connection: Int<1, 1_000_000_000>, "no limit", "Requests after which a connection is closed";
    }
}

table! {
    /// Something that has moved.
    RedirectFile, "redirect" {
        from: RouteSpec, "",
            "Host, host and path prefix, or path prefix of every host: `www.example.com`, `example.com/old`, `/old`. \
             It counts among the apps' routes: the most specific wins, no two may claim the same";
        to: Destination, "",
            "URL that takes its place: `https://example.com`. What follows `from` in the path, and the query, are kept";
        status: RedirectStatus, "308",
            "308 and 301: for good, which browsers remember. 307 and 302: for now. 303: with GET";
    }
}

table! {
    /// The Docker Engine.
    DockerFile, "docker" {
        socket: SocketPath, "`DOCKER_HOST` where it names a socket, else `/var/run/docker.sock`", "The engine's Unix socket";
        network: Word, "one of the proxy's own", "Network that replicas join";
        pull_timeout: SomeTime, "`2m`",
            "A pull of an image of which nothing has come for so long is given up, and tried again";
        prepared: Int<0, 10_000>, "`50`",
            "For how many apps, those that were used last, the network of a stopped replica is kept, so that it starts in \
             a third of the time; each costs a container that waits, and the engine some 13 MB";
        max_concurrent_starts: Int<1, 1000>, "`8`",
            "Replicas that are started at once; more wait their turn, those first that somebody waits for";
        allow: Many<HostPath>, "none", "Folders of the host that `volumes` may mount, with all below them";
    }
}

table! {
    /// The admin API.
    AdminFile, "admin" {
        listen: SocketAddr, "`127.0.0.1:9900`", "Its address; keep it private";
    }
}

table! {
    /// What is logged.
    LogFile, "log" {
        level: LogLevel, "`info`", "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,pilotlight=debug`";
        format: LogFormat, "`text` on a terminal, else `json`", "`text` for people, `json` one object a line";
    }
}

table! {
    /// A line for each request.
    AccessLogFile, "access_log" {
        file: HostPath, "",
            "File that lines are appended to, or `stdout`. SIGHUP opens it again, for who has moved it away";
        format: AccessFormat, "combined", "`combined`, as web servers write it, and a little more; `json` one object a line";
    }
}

/// The keys that make the form with several apps.
pub(crate) const FORM: Section = Section {
    name: "",
    keys: &[
        KeyDoc { name: "apps", default: "", meaning: "Several apps: name → the keys of an app" },
        KeyDoc {
            name: "defaults",
            default: "",
            meaning: "Keys of an app that hold for each of `apps`, key by key, unless it has its own",
        },
    ],
};

/// All sections, and what they are called.
pub(crate) const SECTIONS: &[(&str, Section)] = &[
    ("an app", AppFile::SECTION),
    ("`autoscale` of an app", AutoscaleFile::SECTION),
    ("`boost` of an app", BoostFile::SECTION),
    ("`headers.request` of an app", HeaderChangesFile::SECTION),
    ("`headers` of an app", HeadersFile::SECTION),
    ("`health` of an app", HealthFile::SECTION),
    ("`hold` of an app", HoldFile::SECTION),
    ("`rate_limit` of an app", RateFile::SECTION),
    ("`resources` of an app", ResourcesFile::SECTION),
    ("`websocket` of an app", WebSocketFile::SECTION),
    ("the top level", FORM),
    ("the top level", ProxyFile::SECTION),
    ("`tls` at the top level", TlsFile::SECTION),
    ("`clients` at the top level", ClientsFile::SECTION),
    ("`redirect` at the top level", RedirectFile::SECTION),
    ("`docker` at the top level", DockerFile::SECTION),
    ("`admin` at the top level", AdminFile::SECTION),
    ("`log` at the top level", LogFile::SECTION),
    ("`access_log` at the top level", AccessLogFile::SECTION),
];

impl AppFile {
    /// Reports keys that say the same thing twice.
    pub(crate) fn check_pairs(&self, reader: &mut Reader) {
        reader.exclusive(("image", &self.image), ("build", &self.build));
        reader.exclusive(("host", &self.host), ("hosts", &self.hosts));
        reader.exclusive(("path", &self.path), ("paths", &self.paths));
        if self.socket.get() == Some(&true) {
            reader.exclusive(("port", &self.port), ("socket", &self.socket));
        }
        reader.exclusive(("instance", &self.instance), ("resources", &self.resources));
        self.check_upstream(reader);
        if let Some(headers) = self.headers.get() {
            headers.check(reader);
        }
        if let Some(autoscale) = self.autoscale.get() {
            reader.exclusive(("autoscale_min", &self.autoscale_min), ("autoscale.min", &autoscale.min));
            reader.exclusive(("autoscale_max", &self.autoscale_max), ("autoscale.max", &autoscale.max));
        }
    }

    /// This app's keys over those of `defaults`. A key also covers the default's other spelling or alternative.
    pub(crate) fn over_defaults(self, defaults: &Self) -> Self {
        let mut under = defaults.clone();
        cover(&self.image, &mut under.build);
        cover(&self.build, &mut under.image);
        cover(&self.host, &mut under.hosts);
        cover(&self.hosts, &mut under.host);
        cover(&self.path, &mut under.paths);
        cover(&self.paths, &mut under.path);
        cover(&self.port, &mut under.socket);
        if self.socket.get() == Some(&true) {
            cover(&self.socket, &mut under.port);
        }
        cover(&self.instance, &mut under.resources);
        cover(&self.resources, &mut under.instance);
        self.cover_upstream(&mut under);
        if let Slot::Given(below) = &mut under.autoscale {
            cover(&self.autoscale_min, &mut below.value.min);
            cover(&self.autoscale_max, &mut below.value.max);
        }
        if let Some(autoscale) = self.autoscale.get() {
            cover(&autoscale.min, &mut under.autoscale_min);
            cover(&autoscale.max, &mut under.autoscale_max);
        }
        if let (Some(own), Slot::Given(below)) = (self.headers.get(), &mut under.headers) {
            own.cover(&mut below.value);
        }
        self.merged(&under)
    }
}

fn cover<A, B>(own: &Slot<A>, under: &mut Slot<B>) {
    if !own.is_absent() {
        *under = Slot::Absent;
    }
}
