//! The subcommands, a file each, and the arguments that they share.

pub mod call;
pub mod check;
pub mod demo;
pub mod logging;
pub mod serve;
pub mod status;
pub mod terminal;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::spec::{ListenAddress, RuntimeKind};
use crate::config::{Overrides, parse_address, parse_listen};

/// Which file, and what counts in place of what it says.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The file that says what to run.
    #[arg(long, short, value_name = "FILE", default_value = "jcloud.yml")]
    pub config: PathBuf,
    /// Public address in place of the file's; may be given several times.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen)]
    pub listen: Vec<ListenAddress>,
    /// Address of the admin API in place of the file's.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub admin: Option<SocketAddr>,
    /// What runs the replicas, in place of what the file says.
    #[arg(long, value_enum)]
    pub runtime: Option<RuntimeArg>,
}

/// A runtime by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RuntimeArg {
    /// Containers on this host's Docker Engine.
    Docker,
    /// Child processes.
    Process,
}

impl ConfigArgs {
    /// What the command line says in place of the file.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: (!self.listen.is_empty()).then(|| self.listen.clone()),
            admin: self.admin,
            runtime: self.runtime.map(|runtime| match runtime {
                RuntimeArg::Docker => RuntimeKind::Docker,
                RuntimeArg::Process => RuntimeKind::Process,
            }),
        }
    }
}

/// A runtime's name, as files have it.
#[must_use]
pub fn name_of(runtime: RuntimeKind) -> &'static str {
    match runtime {
        RuntimeKind::Docker => "docker",
        RuntimeKind::Process => "process",
    }
}

/// A variable of this process's environment; one that is not UTF-8 counts as missing.
#[must_use]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
