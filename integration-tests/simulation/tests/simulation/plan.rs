//! What happens in a run, drawn from a seed, and written down so that it can be replayed and cut
//! down.

mod draw;

use serde::{Deserialize, Serialize};

use draw::Draw;

/// Edits of a run, at least.
pub const EDITS_MIN: u64 = 300;
/// Nodes of the cluster.
pub const NODES: usize = 2;

/// A run, as lines of JSON: the header, then a line a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who takes part.
    pub header: Header,
    /// What happens, by time.
    pub steps: Vec<Step>,
}

/// Who takes part, and the seed of all that the steps don't say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Ids, delays and faults are drawn from it.
    pub seed: u64,
    /// Partitions of the log.
    pub partitions: u32,
    /// How many documents there are.
    pub documents: usize,
    /// The clients.
    pub clients: Vec<ClientPlan>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientPlan {
    /// The document that it works on.
    pub document: usize,
    /// The node that it connects to first.
    pub node: usize,
    /// Whether it speaks the stock protocol only.
    pub stock: bool,
}

/// Something that happens at some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Simulated milliseconds since the begin.
    pub at_ms: u64,
    /// What happens.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A client inserts tokens.
    Insert {
        client: usize,
        place: u32,
        count: u32,
    },
    /// A client inserts a long text.
    Paste {
        client: usize,
        place: u32,
        len: usize,
    },
    /// A client deletes tokens.
    Delete {
        client: usize,
        place: u32,
        count: u32,
    },
    /// A client's connection breaks, and it stays away.
    Offline { client: usize },
    /// A client comes back.
    Online { client: usize },
    /// A client goes to another node at once, with what is in flight.
    Move { client: usize, node: usize },
    /// A client reads nothing for a while.
    Pause { client: usize, ms: u64 },
    /// A client's disk is copied.
    Keep { client: usize },
    /// A client's disk is set back to the copy.
    SetBack { client: usize },
    /// A node dies.
    CrashNode { node: usize },
    /// A node drains and ends.
    DrainNode { node: usize },
    /// A node begins a new life.
    StartNode { node: usize },
    /// A machine's clock jumps; the number after the nodes' is the mergers' machine.
    JumpClock { machine: usize, ms: i64 },
    /// Another merger starts, beside those that run.
    StartMerger,
    /// The oldest merger dies.
    CrashMerger,
    /// The log goes wrong in ways that this seed draws.
    LogWeather { seed: u64 },
    /// Nothing can be read from the log, and nothing appended.
    LogDown,
    /// The log is well.
    LogCalm,
    /// The store goes wrong this often.
    StoreWeather { per_thousand: u32 },
    /// The store can't be reached.
    StoreDown,
    /// The store is well.
    StoreCalm,
    /// The nodes' dry runs fail this often.
    TrialWeather { per_thousand: u32 },
    /// Somebody folds a document, slowly, beside the mergers.
    Fold { document: usize, ms: u64 },
    /// Somebody means harm.
    Attack {
        kind: AttackKind,
        node: usize,
        client: usize,
        seed: u64,
    },
}

/// What somebody who means harm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackKind {
    /// Writes on under a client's peer id.
    ForeignPeer,
    /// Takes a client's peer id before the client's first operation is known.
    StolenPeer,
    /// Sends the same operations with two contents, through two nodes at once.
    EquivocateAcross,
    /// Sends the same operations with two contents, one after the other.
    EquivocateInTurn,
    /// Sends an update that overlaps what it sent before, with other content there.
    EquivocateStraddling,
    /// Has operations logged whose predecessors are void there, and fills the gap with others.
    EquivocatePending,
    /// Leaves operations out, and sends them after a while.
    Gap,
    /// Builds on operations that nobody will ever see.
    Dangling,
    /// Sends bytes that are no update.
    Malformed,
    /// Sends an update with some bytes changed and the checksum made to fit.
    Mutated,
    /// Sends an update that takes too long to import, again and again.
    Harmful,
    /// Sends a batch of which only a part is sound.
    MixedBatch,
    /// Sends much, and reads nothing.
    Deaf,
}

/// All of them.
pub const ATTACKS: [AttackKind; 13] = [
    AttackKind::ForeignPeer,
    AttackKind::StolenPeer,
    AttackKind::EquivocateAcross,
    AttackKind::EquivocateInTurn,
    AttackKind::EquivocateStraddling,
    AttackKind::EquivocatePending,
    AttackKind::Gap,
    AttackKind::Dangling,
    AttackKind::Malformed,
    AttackKind::Mutated,
    AttackKind::Harmful,
    AttackKind::MixedBatch,
    AttackKind::Deaf,
];

impl Plan {
    /// The plan of `seed`.
    pub fn draw(seed: u64) -> Self {
        Draw::new(seed).plan()
    }

    /// The plan as lines of JSON.
    pub fn to_lines(&self) -> String {
        let header = serde_json::to_string(&self.header);
        let steps = self.steps.iter().map(serde_json::to_string);
        let lines: Result<Vec<_>, _> = std::iter::once(header).chain(steps).collect();
        lines.expect("plans are plain data").join("\n") + "\n"
    }

    /// Reads what [`Plan::to_lines`] wrote.
    ///
    /// # Errors
    /// If a line is not what belongs there.
    pub fn from_lines(text: &str) -> serde_json::Result<Self> {
        let mut lines = text.lines();
        let header = serde_json::from_str(lines.next().unwrap_or_default())?;
        let steps = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { header, steps })
    }
}

#[test]
fn a_plan_that_is_written_down_is_the_same_plan() {
    let plan = Plan::draw(7);
    assert_eq!(plan, Plan::draw(7));
    assert_eq!(Plan::from_lines(&plan.to_lines()).unwrap(), plan);
}
