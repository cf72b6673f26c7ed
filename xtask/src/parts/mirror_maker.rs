//! MirrorMaker 2, one in each of the two regions, which reads the other region's topics from afar.

use std::fs;

use anyhow::Context;

use super::kafka::{FROM_AFAR, REGIONS, address, install, java_options};
use super::place::Place;
use super::wide_area::NAMES;
use super::{Part, Server, always, nothing};
use crate::command::{command, root};

/// What each is run with.
const SETTINGS: &str = "infra/mirror-maker/mirror-maker.properties";

/// Copies the log of each region to the other one. It starts only while both can be reached.
pub const PART: Part = Part {
    name: "mirror-maker",
    process_count: 2,
    is_installed: always,
    prepare: |places| {
        let class_path = install()?;
        let brokers = REGIONS.places();
        let template = fs::read_to_string(root().join(SETTINGS))
            .with_context(|| format!("{SETTINGS} can't be read"))?;
        [(0, 1), (1, 0)]
            .into_iter()
            .zip(places)
            .map(|((source, target), place)| {
                let settings = template
                    .replace("SOURCE_BROKERS", &address(&brokers[source], FROM_AFAR)?)
                    .replace("TARGET_BROKERS", &address(&brokers[target], "broker")?)
                    .replace("SOURCE", NAMES[source])
                    .replace("TARGET", NAMES[target])
                    .replace("TOPICS", "test-.*")
                    .replace("REPLICAS", "1");
                server(place, &settings, &class_path)
            })
            .collect()
    },
    settle: nothing,
    variables: |_| Ok(Vec::new()),
};

fn server(place: &Place, settings: &str, class_path: &str) -> anyhow::Result<Server> {
    let settings = place.write("mirror-maker.properties", settings)?;
    let mut command = command(
        "java",
        &["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
    );
    command.args(java_options(place, class_path)?);
    command.arg("org.apache.kafka.connect.mirror.MirrorMaker");
    command.arg(settings);
    Ok(Server {
        command,
        ready_text: "Kafka MirrorMaker started",
    })
}
