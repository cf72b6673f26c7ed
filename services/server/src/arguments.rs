//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use document_types::{DocumentId, LogOffset};

use crate::Role;

/// What the command line understands.
#[derive(Debug, Parser)]
#[command(
    name = "collabedit",
    version,
    about = "Collaborative editing: documents that many people write at once",
    after_help = "\
Examples:
  collabedit dev                                 everything in one process, on this machine
  collabedit dev --listen 127.0.0.1:0            the same, on a port that is free
  collabedit serve --config node.toml            a node of a deployment, with the roles in the file
  collabedit check --config node.toml            whether all that it needs is there
  collabedit log show my-notes                   the document's records, oldest first
  collabedit config show --config node.toml      the settings in force, and where each is from

Settings come from defaults, then the file, then the environment (COLLABEDIT_…), then flags."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Settings that any command takes.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Settings that any command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArguments {
    /// A TOML file with settings; `collabedit config show` prints one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as in `--set store.cache_bytes=1000000`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Which log lines are written, as in `info` or `warn,merger=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// The data directory
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all roles in this process, with an embedded log and store and without a login
    ///
    /// Documents come to be when somebody opens them. Once the node is ready, the editor's address
    /// is printed in a line of its own: `Editor: http://127.0.0.1:8787/`.
    Dev {
        /// The address to serve on; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        /// A directory with the built editor, served instead of the one in this program
        #[arg(long, value_name = "DIR")]
        web_dir: Option<PathBuf>,
    },
    /// Run a node of a deployment: the roles that it is given
    ///
    /// What nodes share is in Kafka and FoundationDB; what a node lacks it asks on the nodes that the
    /// settings under `services` name. Once the node is ready, its addresses are printed, one a line.
    Serve {
        /// The node's roles, separated by commas; all if none are named
        #[arg(long, value_name = "ROLES", value_enum, value_delimiter = ',')]
        roles: Vec<Role>,
        /// The region it is in
        #[arg(long, value_name = "REGION")]
        region: Option<String>,
        /// Its number, which no other node of the region has
        #[arg(long, value_name = "NUMBER")]
        node: Option<u32>,
        /// The address to serve clients on, or health alone on a node without a gateway
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        /// The address on which other nodes ask its services
        #[arg(long, value_name = "ADDRESS")]
        services_listen: Option<SocketAddr>,
    },
    /// Try the settings and everything that a node with them would need
    ///
    /// It changes nothing, and says what is wrong and how to mend it.
    Check,
    /// Look into the operation log
    #[command(subcommand)]
    Log(LogCommand),
    /// Replay a plan of edits against a running server, and check what it did
    Replay(replay::ReplayOptions),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version
    Version,
    /// Try updates that come on the standard input; started by a node, not by people
    #[command(hide = true)]
    DryRunWorker,
}

/// Looking into the operation log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print a document's records as JSON, one a line, oldest first
    ///
    /// It reads the files and needs no server. While a server uses the directory, what was written
    /// up to now is shown.
    Show {
        /// The document
        #[arg(value_parser = DocumentId::parse)]
        document: DocumentId,
        /// The first offset of the document's partition to show
        #[arg(long, default_value = "0", value_name = "OFFSET", value_parser = offset)]
        from: LogOffset,
    },
}

/// Looking at the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in force as TOML, with the origin of those that are not defaults
    Show,
    /// Print all settings as a Markdown table, with environment variables, defaults and meanings
    Reference,
}

impl Arguments {
    /// The settings that were given as flags, as keys and values.
    pub fn flags(&self) -> Vec<(String, String)> {
        let text = |path: &PathBuf| path.display().to_string();
        let SettingsArguments { set, log, data, .. } = &self.settings;
        let mut flags = set.clone();
        let mut flag = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        flag("telemetry.filter", log.clone());
        flag("data", data.as_ref().map(text));
        match &self.command {
            Command::Dev { listen, web_dir } => {
                flag("roles", Some(list(&Role::ALL)));
                flag("listen", listen.map(|address| address.to_string()));
                flag("web.directory", web_dir.as_ref().map(text));
            }
            Command::Serve {
                roles,
                region,
                node,
                listen,
                services_listen,
            } => {
                let address = |address: &SocketAddr| address.to_string();
                flag("roles", (!roles.is_empty()).then(|| list(roles)));
                flag("region", region.clone());
                flag("node", node.map(|node| node.to_string()));
                flag("listen", listen.as_ref().map(address));
                flag("services.listen", services_listen.as_ref().map(address));
            }
            _ => {}
        }
        flags
    }
}

/// Roles as a setting has them.
fn list(roles: &[Role]) -> String {
    let names: Vec<_> = roles
        .iter()
        .filter_map(ValueEnum::to_possible_value)
        .map(|role| format!("{:?}", role.get_name()))
        .collect();
    format!("[{}]", names.join(", "))
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a setting is given as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn offset(text: &str) -> Result<LogOffset, std::num::ParseIntError> {
    text.parse().map(LogOffset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_are_settings() {
        let line =
            "collabedit dev --listen 127.0.0.1:0 --data d --set node=7 --log warn --web-dir w";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let mut flags = arguments.flags();
        flags.sort();
        let expected = [
            ("data", "d"),
            ("listen", "127.0.0.1:0"),
            ("node", "7"),
            (
                "roles",
                r#"["gateway", "collaboration", "merger", "history"]"#,
            ),
            ("telemetry.filter", "warn"),
            ("web.directory", "w"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(flags, expected);
    }
}
