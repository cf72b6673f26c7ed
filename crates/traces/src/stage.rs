use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From the key press to the acknowledgement, as the client sees it.
    KeyPress,
    /// The same of an edit that began with no key press.
    Edit,
    /// From the arrival of a batch at the gateway to its answer.
    Batch,
    /// From the batch's arrival in the room until it may be appended.
    Gate,
    /// Trying the updates in a worker process.
    DryRun,
    /// From the append until the log has brought the record back.
    Append,
    /// From there until the room has shown it to its sessions.
    Deliver,
    /// From reading the record to its place in the document's state.
    Merge,
    /// The store's transaction.
    Commit,
}

impl Stage {
    /// The span's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyPress => "key press",
            Self::Edit => "edit",
            Self::Batch => "batch",
            Self::Gate => "gate",
            Self::DryRun => "dry run",
            Self::Append => "append",
            Self::Deliver => "deliver",
            Self::Merge => "merge",
            Self::Commit => "commit",
        }
    }

    /// The service that it is a stage of, whichever process that runs in.
    pub fn service(self) -> &'static str {
        match self {
            Self::KeyPress | Self::Edit => "collabedit-client",
            Self::Batch => "collabedit-gateway",
            Self::Gate | Self::DryRun | Self::Append | Self::Deliver => "collabedit-collaboration",
            Self::Merge | Self::Commit => "collabedit-merger",
        }
    }

    pub(crate) fn kind(self) -> SpanKind {
        match self {
            Self::KeyPress | Self::Edit | Self::Commit => SpanKind::Client,
            Self::Batch => SpanKind::Server,
            Self::Gate | Self::DryRun | Self::Deliver => SpanKind::Internal,
            Self::Append => SpanKind::Producer,
            Self::Merge => SpanKind::Consumer,
        }
    }
}
