use std::sync::Arc;

use clock::Offload;
use document_store::DocumentStore;
use merger::{Merger, MergerParts};
use op_log::{KafkaGroupMember, PartitionShare, RegionalLogs};
use service_runtime::{Health, Shutdown, TaskGroup};
use traces::Traces;

use super::log::{LogError, kafka_options};
use crate::{Components, Settings};

/// The consumer group of a topic's mergers, after the topic's name.
const MERGERS: &str = "mergers";

/// Starts merging the logs into the store. The merger is ready once what they hold now of its
/// partitions is merged.
///
/// # Errors
/// [`LogError`] if it can't find those with whom it shares the work.
pub fn start(
    settings: &Settings,
    components: &Components,
    traces: &Traces,
    (logs, store): (&RegionalLogs, &DocumentStore),
    health: &Health,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Result<(), LogError> {
    let tasks = tasks.sibling();
    let (member, share) = share(settings, components, logs)?;
    let mut known = share.clone();
    let merger = Arc::new(Merger::start(MergerParts {
        logs: logs.clone(),
        share,
        store: store.clone(),
        clock: components.clock.clone(),
        ids: components.ids(),
        offload: Offload::Threads,
        traces: traces.clone(),
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    }));

    let ready = health.component("merger", "merging what the log holds");
    let catching_up = merger.clone();
    tasks.spawn("merger catch-up", async move {
        known.known().await;
        catching_up.caught_up().await?;
        ready.ready();
        Ok::<_, op_log::ReadError>(())
    });

    shutdown.register("merger", async move || {
        // What is merged now need not be merged at the next start.
        if let Err(error) = merger.caught_up().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "stopped merging early"
            );
        }
        tasks.stop().await;
        if let Some(member) = member {
            member.leave().await;
        }
    });
    Ok(())
}

/// Mergers of one store divide the log's partitions among them; one with a store of its own merges all.
fn share(
    settings: &Settings,
    components: &Components,
    logs: &RegionalLogs,
) -> Result<(Option<KafkaGroupMember>, PartitionShare), LogError> {
    match kafka_options(&settings.log) {
        Some(options) if components.shared_store.is_some() => {
            let group = format!("{}.{MERGERS}", options.topic);
            let (member, share) = KafkaGroupMember::join(&options, &group)?;
            Ok((Some(member), share))
        }
        _ => Ok((None, PartitionShare::all(logs.partition_count()))),
    }
}
