//! One Kafka broker that is its own controller.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::place::Place;
use super::{Part, Server};
use crate::command::{command, output, root, run, target_dir};
use crate::toolchain::{self, JAVA, MAVEN};

pub const PART: Part = Part {
    name: "kafka",
    prepare,
    variables: |place| Ok(vec![("COLLABEDIT_TEST_KAFKA", address(place, "broker")?)]),
};

/// What Maven installs the broker from.
const POM: &str = "infra/kafka/pom.xml";
/// A cluster's id is a UUID in Base64; a fixed one saves a start of the Java machine.
const CLUSTER_ID: &str = "Y29sbGFiZWRpdC1kZXYtMQ";
/// What keeps a broker at 160 MiB; smaller ones need `log.cleaner.dedupe.buffer.size` below.
const JAVA_OPTIONS: [&str; 4] = [
    "-Xms64m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
];

const LOG4J: &str = r#"<Configuration status="warn">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="info"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"#;

fn address(place: &Place, purpose: &str) -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", place.port(purpose)?))
}

fn prepare(place: &Place) -> anyhow::Result<Server> {
    toolchain::check_for(&[&JAVA, &MAVEN])?;
    let class_path = format!("{}/*", install()?.display());
    let data = place.folder.join("data");
    let settings = settings(
        &address(place, "broker")?,
        &address(place, "controller")?,
        &data.display().to_string(),
    );
    let settings = place.write("server.properties", &settings)?;
    let settings = settings.to_string_lossy();
    let log4j = place.write("log4j2.xml", LOG4J)?;
    let log4j = format!("-Dlog4j2.configurationFile={}", log4j.display());
    if !data.join("meta.properties").is_file() {
        let tool = ["-cp", &class_path, &log4j, "kafka.tools.StorageTool"];
        let format = ["format", "-t", CLUSTER_ID, "-c", &settings];
        output(command("java", &[&tool[..], &format].concat()))
            .with_context(|| format!("{} can't be formatted", data.display()))?;
    }
    let broker = ["-cp", &class_path, &log4j, "kafka.Kafka", &settings];
    Ok(Server {
        command: command("java", &[&JAVA_OPTIONS[..], &broker].concat()),
        ready_text: "Kafka Server started",
    })
}

/// Installs the jars, unless those that [`POM`] names are here, and gives their folder.
fn install() -> anyhow::Result<PathBuf> {
    let pom = fs::read(root().join(POM)).with_context(|| format!("{POM} can't be read"))?;
    let version = blake3::hash(&pom).to_hex();
    let folder = target_dir().join(format!("xtask/kafka-{}", &version[..16]));
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("kafka: installing");
    // What is cut short is not taken for whole.
    let partial = folder.with_extension("partial");
    let output_folder = format!("-DoutputDirectory={}", partial.display());
    let arguments = [
        "-q",
        "-B",
        "-f",
        POM,
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        "-DincludeScope=runtime",
        &output_folder,
    ];
    run(command("mvn", &arguments))?;
    fs::rename(&partial, &folder).context("the jars can't be put in their place")?;
    Ok(folder)
}

fn settings(broker: &str, controller: &str, data: &str) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false

# There is one broker, so whatever Kafka keeps for itself has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0

# A broker that was killed comes back as soon as its session has ended.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300

# Small.
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.threads=1
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"
    )
}
