use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use test_parts::{parts, variable};
use tokio::net::TcpStream;

use crate::{Topic, create_named, topic_name};

/// What `cargo xtask parts` calls the brokers of two regions,
const REGIONS: &str = "kafka-regions";
/// what lies between them,
const WIDE_AREA: &str = "wide-area";
/// and what copies from each to the other.
const MIRROR_MAKER: &str = "mirror-maker";
/// The regions, in the order of their brokers.
const NAMES: [&str; 2] = ["eu", "us"];

/// What one region is.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its number, from 1.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// The other one's name.
    pub other: &'static str,
    /// The topic of its log.
    pub topic: Topic,
}

/// Two regions with a topic each that nobody else uses, and with the other region's copy of it, which is
/// filled from then on.
///
/// # Panics
/// If there are no such brokers, or they refuse.
pub async fn new_regions() -> [Region; 2] {
    regions(topic_name()).await
}

/// The same, but nothing fills the copies, as when all that is copied were lost.
///
/// # Panics
/// If there are no such brokers, or they refuse.
pub async fn new_regions_apart() -> [Region; 2] {
    regions(format!("apart-{}", topic_name())).await
}

async fn regions(topic: String) -> [Region; 2] {
    parts(&["up", REGIONS, WIDE_AREA]).await;
    let brokers = variable("COLLABEDIT_TEST_KAFKA_REGIONS");
    let mut brokers = brokers.split(',');
    let mut regions = Vec::new();
    let names = NAMES.into_iter().zip(NAMES.into_iter().rev());
    for (number, (name, other)) in (1..).zip(names) {
        let broker = brokers.next().unwrap();
        let settings = [("min.insync.replicas", "1")];
        create_named(broker, &format!("{other}.{topic}"), 1, &settings).await;
        regions.push(Region {
            number,
            name,
            other,
            topic: create_named(broker, &topic, 1, &settings).await,
        });
    }
    regions.try_into().unwrap()
}

/// What lies between the regions.
pub struct WideArea {
    control: String,
}

impl WideArea {
    /// A way that takes whatever passes it so long, in each direction.
    ///
    /// # Panics
    /// If what stands for it, or what copies over it, does not run.
    pub async fn new(delay: Duration) -> Self {
        let way = Self {
            control: variable("COLLABEDIT_TEST_WIDE_AREA"),
        };
        way.post("/reset", "").await;
        for name in NAMES {
            for stream in ["upstream", "downstream"] {
                let delay_ms = delay.as_millis();
                let toxic = format!(
                    r#"{{"type": "latency", "stream": "{stream}", "attributes": {{"latency": {delay_ms}}}}}"#
                );
                way.post(&format!("/proxies/{name}/toxics"), &toxic).await;
            }
        }
        // It copies over the way, and ends if there is none when it starts.
        parts(&["up", MIRROR_MAKER]).await;
        way
    }

    /// Ends all connections between the regions, and lets none be made.
    ///
    /// # Panics
    /// If what stands for the way does not obey.
    pub async fn cut(&self) {
        self.enable(false).await;
    }

    /// Ends a cut.
    ///
    /// # Panics
    /// If what stands for the way does not obey.
    pub async fn heal(&self) {
        self.enable(true).await;
    }

    async fn enable(&self, enabled: bool) {
        for name in NAMES {
            let change = format!(r#"{{"enabled": {enabled}}}"#);
            self.post(&format!("/proxies/{name}"), &change).await;
        }
    }

    async fn post(&self, path: &str, body: &str) {
        let stream = TcpStream::connect(&self.control).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut requests, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let request = Request::post(path)
            .header(HOST, &self.control)
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let connection = tokio::spawn(connection);
        let answer = requests.send_request(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        connection.abort();
    }
}
