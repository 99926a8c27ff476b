//! The hash that names a revision: equal exactly where a running replica may be kept. Owns the canonical
//! form that is hashed; what goes into it is each runtime's business.
//!
//! The form, version 1: the bytes `v1`, then the fields in the order of [`Shape`]. A string is its length in
//! bytes (u64, little endian) and its bytes; a number is a u64, little endian; a list is the number of its
//! items and the items; a choice is a string that names it and then what it holds. Fields that came later follow,
//! each as such a choice and only where it is set, so that what does without them keeps its hash. So no two shapes
//! have the same bytes. It is hashed with BLAKE3 under the instance's key. A change of the form replaces every replica
//! of every installation: it needs a new version, and a reason.

use std::collections::BTreeMap;

use super::Identity;
use crate::config::spec::{Command, Resources, Volume, VolumeSource};

/// What shapes a replica.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The image's ID; empty for a process.
    pub image_id: &'a str,
    /// `None`: the image's own.
    pub command: Option<&'a Command>,
    /// Sorted by name, so that the order in a file means nothing.
    pub env: &'a BTreeMap<String, String>,
    /// CPU, memory and GPUs as asked for, not as clamped: a larger host is no new revision.
    pub resources: Resources,
    /// In the order of the file.
    pub volumes: &'a [Volume],
    /// Whether the app's workspace is mounted; where it is follows from the app and the instance.
    pub workspace: bool,
    /// Where the replica listens; 0 where the runtime chooses one for each.
    pub port: u16,
    /// Whether it listens on a Unix socket of its own instead.
    pub socket: bool,
    /// What the runtime's own defaults take away or add, in words of its own.
    pub security: &'a [&'a str],
    /// The network that it joins; empty for a process.
    pub network: &'a str,
    /// Those that it joins beside it, sorted.
    pub networks: &'a [String],
    /// The name by which replicas of other apps find it; `None`: by none.
    pub name: Option<&'a str>,
}

/// Twelve hex digits over `shape`, under the instance's key.
#[must_use]
pub fn hash(identity: &Identity, shape: &Shape<'_>) -> String {
    let digest = blake3::keyed_hash(&identity.key, &canonical(shape));
    digest.to_hex().as_str()[..12].to_owned()
}

fn canonical(shape: &Shape<'_>) -> Vec<u8> {
    let mut form = Form(b"v1".to_vec());
    form.text(shape.image_id);
    match shape.command {
        None => form.text("image"),
        Some(Command::List(words)) => {
            form.text("list");
            form.count(words.len());
            for word in words {
                form.text(word);
            }
        }
        Some(Command::Shell(line)) => {
            form.text("shell");
            form.text(line);
        }
    }
    form.count(shape.env.len());
    for (name, value) in shape.env {
        form.text(name);
        form.text(value);
    }
    form.number(shape.resources.cpu_millis.into());
    form.number(shape.resources.memory);
    form.count(shape.volumes.len());
    for volume in shape.volumes {
        match &volume.source {
            VolumeSource::Named(name) => {
                form.text("named");
                form.text(name);
            }
            VolumeSource::Host(path) => {
                form.text("host");
                form.bytes(path.as_os_str().as_encoded_bytes());
            }
        }
        form.text(&volume.target);
        form.number(volume.read_only.into());
    }
    form.number(shape.port.into());
    form.count(shape.security.len());
    for option in shape.security {
        form.text(option);
    }
    form.text(shape.network);
    if shape.resources.gpus > 0 {
        form.text("gpus");
        form.number(shape.resources.gpus.into());
    }
    if shape.workspace {
        form.text("workspace");
    }
    if !shape.networks.is_empty() {
        form.text("networks");
        form.count(shape.networks.len());
        for network in shape.networks {
            form.text(network);
        }
    }
    if shape.socket {
        form.text("socket");
    }
    if let Some(name) = shape.name {
        form.text("name");
        form.text(name);
    }
    form.0
}

struct Form(Vec<u8>);

impl Form {
    fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn count(&mut self, items: usize) {
        self.number(items as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A shape that owns its parts, so that a test can change one.
    #[derive(Clone)]
    struct Owned {
        image_id: String,
        command: Option<Command>,
        env: BTreeMap<String, String>,
        resources: Resources,
        volumes: Vec<Volume>,
        workspace: bool,
        port: u16,
        socket: bool,
        security: Vec<&'static str>,
        network: String,
        networks: Vec<String>,
        name: Option<&'static str>,
    }

    impl Owned {
        fn sample() -> Self {
            Self {
                image_id: "sha256:1f".into(),
                command: Some(Command::List(vec!["serve".into(), "--all".into()])),
                env: [("A", "1"), ("B", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                resources: Resources { cpu_millis: 1000, memory: 2 << 30, gpus: 0 },
                volumes: vec![Volume {
                    source: VolumeSource::Named("data".into()),
                    target: "/data".into(),
                    read_only: false,
                }],
                workspace: false,
                port: 8080,
                socket: false,
                security: vec!["no-new-privileges"],
                network: "pilotlight-01234567".into(),
                networks: Vec::new(),
                name: None,
            }
        }

        fn hash(&self) -> String {
            self.hash_as(&identity(7))
        }

        fn hash_as(&self, identity: &Identity) -> String {
            let shape = Shape {
                image_id: &self.image_id,
                command: self.command.as_ref(),
                env: &self.env,
                resources: self.resources,
                volumes: &self.volumes,
                workspace: self.workspace,
                port: self.port,
                socket: self.socket,
                security: &self.security,
                network: &self.network,
                networks: &self.networks,
                name: self.name,
            };
            hash(identity, &shape)
        }
    }

    fn identity(byte: u8) -> Identity {
        Identity { id: "0123456789ab".into(), key: [byte; 32] }
    }

    #[test]
    fn known_answer() {
        // Changes only together with the version in the form: every replica in the field carries it as a label.
        assert_eq!(Owned::sample().hash(), "030090525c86");
    }

    #[test]
    fn every_field_counts() {
        let changes: [fn(&mut Owned); 26] = [
            |s| s.image_id = "sha256:2f".into(),
            |s| s.command = None,
            |s| s.command = Some(Command::List(vec!["serve --all".into()])),
            |s| s.command = Some(Command::Shell("serve --all".into())),
            |s| s.env = BTreeMap::new(),
            |s| drop(s.env.insert("A".into(), "2".into())),
            |s| s.env = BTreeMap::from([("A1B".into(), "2".into())]),
            |s| s.resources.cpu_millis = 500,
            |s| s.resources.memory = 1 << 30,
            |s| s.volumes = Vec::new(),
            |s| s.volumes[0].source = VolumeSource::Named("other".into()),
            |s| s.volumes[0].source = VolumeSource::Host(PathBuf::from("data")),
            |s| s.volumes[0].target = "/elsewhere".into(),
            |s| s.volumes[0].read_only = true,
            |s| s.port = 8081,
            |s| s.security = vec!["no-new-privileges", "cap-drop=ALL"],
            |s| s.network = "bridge".into(),
            |s| s.resources.gpus = 1,
            |s| s.resources.gpus = 2,
            |s| s.workspace = true,
            |s| s.networks = vec!["db".into()],
            |s| s.networks = vec!["workspace".into()],
            |s| s.socket = true,
            |s| s.networks = vec!["socket".into()],
            |s| s.name = Some("db"),
            |s| s.name = Some("cache"),
        ];
        let mut seen = std::collections::BTreeSet::from([Owned::sample().hash()]);
        for (index, change) in changes.into_iter().enumerate() {
            let mut shape = Owned::sample();
            change(&mut shape);
            assert!(seen.insert(shape.hash()), "change {index} has the hash of another");
        }
    }

    #[test]
    fn the_order_of_env_does_not_count() {
        let mut turned = Owned::sample();
        turned.env =
            [("B", "2"), ("A", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        assert_eq!(turned.hash(), Owned::sample().hash());
    }

    #[test]
    fn the_key_counts() {
        assert_ne!(Owned::sample().hash_as(&identity(8)), Owned::sample().hash());
    }
}
