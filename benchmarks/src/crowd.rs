//! Many people who type in the same documents, as light clients that play what replicas would have sent.
//!
//! **Why not with replicas.** Fifty replicas of one document import fifty times what the server does, on
//! the server's own cores, and are what such a test then measures. A client without a replica costs next
//! to nothing, but has nothing to say: what it sends has to name what its author had seen. Clients that
//! never see each other's edits write fifty branches that grow for as long as the test runs, which no
//! crowd of people does and which makes every import dear. So a light client plays updates that were
//! recorded before, in each of which its author had seen what the others had written.
//!
//! **The recording.** On the pulse everybody imports one frame and then commits. Time falls into rounds:
//! in each, those whose turn it is write one update on top of all updates of the rounds before
//! ([`Recording`]). That is what a room of replicas does whose beats are never late, and it needs no
//! replicas: what an update contains follows from the heads of the round before, its author and its
//! place in the text. The engine writes the bytes, and a test holds them against those of replicas that
//! really import and commit, change for change.
//!
//! **What makes the causality real.** The recorded dependencies only mean something if they were there
//! in time: an update may not be sent before its author could have written it. So a client releases its
//! update of a round when the server's frames have brought it *every* update of the rounds before, and
//! its own have been acknowledged, and then on the pulse, right after the beat's frame, as our SDK
//! commits ([`Play`]). If one update is late, everybody waits a beat for it, as everybody's next
//! update says that it has seen it. Replicas would go on without it; so a late server shows here as a
//! lower rate, and never as concurrency that people would not have made. Frames are compared with the
//! recording byte by byte, and an update that comes twice, before what it builds on, or not as it was
//! sent ends the test.
//!
//! **The rate.** A round has a time before which it is not played. Whether that time has come is decided
//! by the beat's number, which is the same for all, so that a beat never divides a round. If the server
//! beats faster than the rounds, clients pass over beats; if it beats slower, or is late, updates are
//! sent later than they were due, by what the report calls `behind`, and the rate falls.
//!
//! **Cursors.** Readers and writers alike may move a cursor, as often as the scenario says. What is measured
//! is from its movement to its receipt, of those movements that no newer one overtakes on the way.
//!
//! **What is measured where.** The clients measure from sending to the acknowledgement, and from sending
//! to the receipt at every other client, all of them. The server measures the same from its receipt of a
//! batch to the bytes on the sockets, in histograms that are read before, meanwhile and after; the
//! difference between the two is the way through the kernel and this program.

mod causality;
mod cursor;
mod error;
mod live;
mod play;
mod process_usage;
mod prometheus;
mod recording;
mod report;
mod run;
mod scenario;
mod server_watch;
mod table;
mod tally;

pub use causality::{Causality, Violation};
pub use error::PlayError;
pub use play::Play;
pub use recording::{Recording, RecordingError};
pub use report::{Failures, HistogramFigures, MinuteFigures, Report, ServerFigures};
pub use run::{Target, run};
pub use scenario::{Rhythm, Scenario, ScenarioError};
