use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server counts of refusals and of its workers, a line each.
///
/// # Errors
/// If the server does not answer.
pub async fn fetch_metrics(address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .context("the server's metrics can't be read")?;
    let told = [
        "collabedit_collaboration_updates_",
        "collabedit_collaboration_harmful_",
        "collabedit_collaboration_equivocations_",
        "collabedit_collaboration_slow_consumers_",
        "collabedit_gateway_slowed_reads_",
        "collabedit_dry_run_worker_starts_",
        "collabedit_collaboration_dry_run_ms",
    ];
    let lines = answer
        .lines()
        .filter(|line| told.iter().any(|name| line.starts_with(name)) && !line.contains("_bucket"));
    Ok(lines.map(str::to_owned).collect())
}
