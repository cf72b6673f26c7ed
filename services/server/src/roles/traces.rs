use std::convert::Infallible;

use service_runtime::{Shutdown, TaskGroup};
use traces::{NodeName, TraceParts, Traces};

use crate::plan::Plan;
use crate::{Components, Settings};

/// Starts the export of traces, if there is a collector. It ends after whatever is registered later, so
/// that the last spans still go out.
pub fn start(
    settings: &Settings,
    components: &Components,
    plan: &Plan,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Traces {
    let Some(collector) = &plan.collector else {
        return Traces::off();
    };
    let tasks = tasks.sibling();
    let (traces, exporter) = Traces::new(TraceParts {
        collector: collector.clone(),
        ratio: settings.telemetry.otlp.sampling_ratio,
        node: NodeName {
            region: settings.region.clone(),
            node: settings.node_id(),
            version: env!("CARGO_PKG_VERSION"),
        },
        clock: components.clock.clone(),
        random: components.random.fork(),
    });
    let stop = tasks.stop_token();
    tasks.spawn("traces", async move {
        exporter.run(stop).await;
        Ok::<_, Infallible>(())
    });
    shutdown.register("traces", async move || tasks.stop().await);
    traces
}
