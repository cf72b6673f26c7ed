//! Kafka brokers that are their own controllers: one alone, a cluster of three, and two regions of one.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::{slice, thread};

use anyhow::Context;

use super::place::Place;
use super::{Part, Server, always, nothing};
use crate::command::{command, output, root, run, target_dir};
use crate::toolchain::{self, JAVA, MAVEN};

/// A broker for everything that does not need several.
pub const PART: Part = Part {
    name: "kafka",
    process_count: 1,
    is_installed: always,
    prepare: |places| {
        let class_path = install()?;
        prepare(places, "Y29sbGFiZWRpdC1kZXYtMQ", &class_path)
    },
    settle: nothing,
    variables: |places| {
        Ok(vec![(
            "COLLABEDIT_TEST_KAFKA",
            addresses(places, "broker")?,
        )])
    },
};

/// Three brokers, of which any one may be away.
pub const CLUSTER: Part = Part {
    name: "kafka-cluster",
    process_count: 3,
    is_installed: always,
    prepare: |places| {
        let class_path = install()?;
        prepare(places, "Y29sbGFiZWRpdC1kZXYtMg", &class_path)
    },
    settle: nothing,
    variables: |places| {
        let brokers = addresses(places, "broker")?;
        Ok(vec![("COLLABEDIT_TEST_KAFKA_CLUSTER", brokers)])
    },
};

/// A broker in each of two regions. From afar each is spoken to by way of
/// [`super::wide_area`].
pub const REGIONS: Part = Part {
    name: "kafka-regions",
    process_count: 2,
    is_installed: always,
    prepare: |places| {
        let class_path = install()?;
        let ids = ["Y29sbGFiZWRpdC1kZXYtMw", "Y29sbGFiZWRpdC1kZXYtNA"];
        let mut brokers = Vec::new();
        for (place, id) in places.iter().zip(ids) {
            brokers.extend(prepare(slice::from_ref(place), id, &class_path)?);
        }
        Ok(brokers)
    },
    settle: nothing,
    variables: |places| {
        let brokers = addresses(places, "broker")?;
        Ok(vec![("COLLABEDIT_TEST_KAFKA_REGIONS", brokers)])
    },
};

/// The port under which a broker says that it is reached from another region,
pub const FROM_AFAR: &str = "from-afar";
/// and the one on which it listens for what comes from there.
pub const BEHIND: &str = "behind";

/// What Maven installs Kafka from.
const POM: &str = "infra/kafka/pom.xml";
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

pub fn address(place: &Place, purpose: &str) -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", place.port(purpose)?))
}

fn addresses(places: &[Place], purpose: &str) -> anyhow::Result<String> {
    let all: Result<Vec<_>, _> = places.iter().map(|place| address(place, purpose)).collect();
    Ok(all?.join(","))
}

/// Brokers of one cluster. Its id is a UUID in Base64; a fixed one saves a start of the Java machine.
fn prepare(places: &[Place], cluster_id: &str, class_path: &str) -> anyhow::Result<Vec<Server>> {
    let brokers = (1..)
        .zip(places)
        .map(|(number, place)| Broker::new(number, place, places, class_path))
        .collect::<Result<Vec<_>, _>>()?;
    // Each takes some seconds, most of them the start of the Java machine.
    thread::scope(|scope| {
        let format = |broker| scope.spawn(move || Broker::format(broker, cluster_id));
        let formats: Vec<_> = brokers.iter().map(format).collect();
        formats.into_iter().try_for_each(|format| {
            let formatted = format.join();
            formatted.unwrap_or_else(|panic| resume_unwind(panic))
        })
    })?;
    Ok(brokers.iter().map(Broker::server).collect())
}

/// How one broker is run.
struct Broker {
    data: PathBuf,
    settings: String,
    /// What the Java machine is told for whatever runs of Kafka.
    java: [String; 3],
}

impl Broker {
    fn new(
        number: usize,
        place: &Place,
        cluster: &[Place],
        class_path: &str,
    ) -> anyhow::Result<Self> {
        let data = place.folder.join("data");
        let settings = place.write(
            "server.properties",
            &settings(number, place, cluster, &data.display().to_string())?,
        )?;
        Ok(Self {
            data,
            settings: settings.display().to_string(),
            java: java_options(place, class_path)?,
        })
    }

    /// Makes the data directory the broker's, unless it is.
    fn format(&self, cluster_id: &str) -> anyhow::Result<()> {
        if self.data.join("meta.properties").is_file() {
            return Ok(());
        }
        let mut tool = command("java", &[]);
        tool.args(&self.java).arg("kafka.tools.StorageTool");
        tool.args(["format", "-t", cluster_id, "-c", &self.settings]);
        output(tool).with_context(|| format!("{} can't be formatted", self.data.display()))?;
        Ok(())
    }

    fn server(&self) -> Server {
        let mut command = command("java", &JAVA_OPTIONS);
        command.args(&self.java);
        command.args(["kafka.Kafka", &self.settings]);
        Server {
            command,
            ready_text: "Kafka Server started",
        }
    }
}

/// What the Java machine is told for whatever runs of Kafka at this place: where its classes are, and
/// that it says what goes wrong.
pub fn java_options(place: &Place, class_path: &str) -> anyhow::Result<[String; 3]> {
    let log4j = place.write("log4j2.xml", LOG4J)?;
    let log4j = format!("-Dlog4j2.configurationFile={}", log4j.display());
    Ok(["-cp".to_owned(), class_path.to_owned(), log4j])
}

/// Installs the jars, unless those that [`POM`] names are here, and gives the class path of all of them.
pub fn install() -> anyhow::Result<String> {
    toolchain::check_for(&[&JAVA, &MAVEN])?;
    let class_path = |folder: &Path| format!("{}/*", folder.display());
    let pom = fs::read(root().join(POM)).with_context(|| format!("{POM} can't be read"))?;
    let version = blake3::hash(&pom).to_hex();
    let folder = target_dir().join(format!("xtask/kafka-{}", &version[..16]));
    if folder.is_dir() {
        return Ok(class_path(&folder));
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
    Ok(class_path(&folder))
}

fn settings(number: usize, place: &Place, cluster: &[Place], data: &str) -> anyhow::Result<String> {
    let (broker, controller) = (address(place, "broker")?, address(place, "controller")?);
    let voters = (1..)
        .zip(cluster)
        .map(|(number, place)| Ok(format!("{number}@{}", address(place, "controller")?)))
        .collect::<anyhow::Result<Vec<_>>>()?
        .join(",");
    let (behind, from_afar) = (address(place, BEHIND)?, address(place, FROM_AFAR)?);
    let replicas = cluster.len();
    let in_sync_min = replicas.saturating_sub(1).max(1);
    Ok(format!(
        "process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{broker},AFAR://{behind},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker},AFAR://{from_afar}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,AFAR:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false

# Whatever Kafka keeps for itself is on all brokers, and one of several may be away.
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync_min}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync_min}
group.initial.rebalance.delay.ms=0

# A broker that was killed comes back, and another takes its place, as soon as its session has ended.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300

# Small.
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.threads=1
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"
    ))
}
