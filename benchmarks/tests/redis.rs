//! Two gateways that share a Redis for presence, under a crowd, while that Redis is killed, frozen and
//! emptied. `cargo xtask test --only redis` runs it.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

use benchmarks::crowd::{Report, Scenario, Target, run};
use crash::{Deployment, ServerCommand};
use test_parts::{parts, variable};

/// One writes at the first gateway, and one reads at the second; both move their cursors.
fn scenario(seconds: u32) -> Scenario {
    Scenario {
        documents: 1,
        people_per_document: 1,
        updates_per_second: 10.0,
        seconds,
        ramp_up_seconds: 0,
        readers_per_document: 1,
        cursors_per_second: 20.0,
        flooders_per_document: 0,
    }
}

async fn play(target: &Target, seconds: u32) -> Report {
    let report = run(target, &scenario(seconds)).await.unwrap();
    println!("{report}");
    assert!(report.failures.is_empty());
    assert_eq!(report.acknowledged, report.planned);
    report
}

/// Does to Redis what can happen to it; afterwards it is there and empty.
async fn trouble_redis() {
    parts(&["kill", "redis"]).await;
    parts(&["up", "redis"]).await;
    let client = redis::Client::open(variable("COLLABEDIT_TEST_REDIS")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for command in [
        redis::cmd("CLIENT").arg("PAUSE").arg("2000"),
        &mut redis::cmd("FLUSHALL"),
    ] {
        // Whoever sends while it pauses waits like everybody.
        while command.exec_async(&mut connection).await.is_err() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis: cargo xtask test --only redis"]
async fn cursors_cross_gateways_and_redis_holds_up_no_edit() {
    let redis = variable("COLLABEDIT_TEST_REDIS");
    let process = |number: u32| {
        Ok(ServerCommand::real()?
            .with(&format!("node={number}"))
            .with(&format!("presence.redis.address={redis}")))
    };
    let all = r#"["collaboration", "merger", "history"]"#;
    let deployment = Deployment::new(process, &[all]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let processes = deployment.start(folder.path()).await.unwrap();
    let target = Target {
        urls: processes[1..].iter().map(|gateway| gateway.url()).collect(),
        processes: Vec::new(),
    };
    assert_eq!(target.urls.len(), 2);

    let calm = play(&target, 2).await;
    assert!(calm.cursor.count > 0, "cursors cross");
    let (troubled, ()) = tokio::join!(play(&target, 10), trouble_redis());
    assert!(troubled.cursor.count > 0);
    let again = play(&target, 2).await;
    assert!(again.cursor.count > 0, "cursors cross again");
}
