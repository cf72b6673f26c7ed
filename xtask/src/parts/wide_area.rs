//! What lies between the two regions: Toxiproxy, which delays what passes it, and can be cut.

use super::kafka::{BEHIND, FROM_AFAR, REGIONS, address};
use super::place::Place;
use super::{Part, Server, always, nothing};
use crate::command::command;
use crate::go;

/// A way to the broker of each region, for whoever is in the other one. They are called after the
/// region that they lead to, and changed by the address that tests are told.
pub const PART: Part = Part {
    name: "wide-area",
    process_count: 1,
    is_installed: always,
    prepare,
    settle: nothing,
    variables: |places| {
        let address = address(&places[0], "control")?;
        Ok(vec![("COLLABEDIT_TEST_WIDE_AREA", address)])
    },
};

/// The regions' names, in the order of their brokers.
pub const NAMES: [&str; 2] = ["eu", "us"];

const MODULE: &str = "github.com/Shopify/toxiproxy/v2/cmd/server";
const VERSION: &str = "v2.5.0";

fn prepare(places: &[Place]) -> anyhow::Result<Vec<Server>> {
    let place = &places[0];
    let program = go::install(MODULE, VERSION)?;
    let ways = NAMES
        .iter()
        .zip(REGIONS.places())
        .map(|(name, broker)| {
            let (listen, upstream) = (address(&broker, FROM_AFAR)?, address(&broker, BEHIND)?);
            Ok(format!(
                r#"{{"name": "{name}", "listen": "{listen}", "upstream": "{upstream}", "enabled": true}}"#
            ))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let ways = place.write("ways.json", &format!("[{}]", ways.join(",\n")))?;
    let port = place.port("control")?.to_string();
    let mut command = command(program, &["-host", "127.0.0.1", "-port", &port, "-config"]);
    command.arg(ways);
    Ok(vec![Server {
        command,
        ready_text: "Populated proxies from file",
    }])
}
