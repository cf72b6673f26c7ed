//! One edit is one trace through several processes and a topic in Kafka. `cargo xtask test --only kafka`
//! runs it.

use kafka_broker::new_topic;
use server_process::{ServerProcess, real_binary};
use trace_collector::Collector;
use trace_tests::{SECRET, one_whole_trace, open, traced};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn one_edit_is_one_trace_through_two_processes_and_kafka() -> anyhow::Result<()> {
    let collector = Collector::start().await;
    let topic = new_topic(&[]).await;
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, "the-secret-of-this-test")?;
    let common = || {
        let mut settings = traced(&collector.url());
        settings.push(format!("--set=services.token_file={}", token.display()));
        settings.push(format!(
            "--set=log.partition_count={}",
            topic.partition_count
        ));
        settings
    };
    let start = async |name: &str, settings: &[String]| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder)?;
        ServerProcess::serve(&real_binary()?, &folder, settings).await
    };

    let mut settings = common();
    settings.extend([
        r#"--set=roles=["collaboration", "merger", "history"]"#.to_owned(),
        "--set=node=2".to_owned(),
        "--set=services.listen=127.0.0.1:0".to_owned(),
        format!(
            "--set=log.kafka.bootstrap_servers={}",
            topic.bootstrap_servers
        ),
        format!("--set=log.kafka.topic={}", topic.name),
        "--set=log.kafka.development=true".to_owned(),
    ]);
    let node = start("node", &settings).await?;
    let services = node.services_url().unwrap_or_default();
    let mut settings = common();
    settings.extend([
        r#"--set=roles=["gateway"]"#.to_owned(),
        "--set=node=1".to_owned(),
        format!("--set=services.collaboration=[{services:?}]"),
        format!("--set=services.history=[{services:?}]"),
    ]);
    let gateway = start("gateway", &settings).await?;

    let (_client, document) = open(&gateway.url()).await?;
    document.insert(0, SECRET)?;
    document.wait_acknowledged().await?;
    let spans = one_whole_trace(&collector).await;
    for (name, span) in &spans {
        let at_the_gateway = matches!(name.as_str(), "key press" | "batch");
        let instance = if at_the_gateway { "local/1" } else { "local/2" };
        assert_eq!(span.instance, instance, "{name}");
    }
    Ok(())
}
