//! Every bound of the system, in one place, with its unit in its name and the reason beside it.
//!
//! A limit that follows from a published limit of something below us is checked against it by the
//! compiler, at the end of this file.

mod attachments;
mod counters;
mod kafka;
mod regions;
mod services;
mod traces;

use std::num::NonZeroUsize;
use std::time::Duration;

pub use attachments::*;
pub use counters::*;
pub use kafka::*;
pub use regions::*;
pub use services::*;
pub use traces::*;

// --- The wire ---------------------------------------------------------------------------------

/// A document id's length on the wire; the limit of `loro-protocol` v1 for room names.
pub const DOCUMENT_ID_BYTES_MAX: usize = 128;
/// One WebSocket message, the limit of `loro-protocol` v1.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Payload of one fragment, which leaves room for its envelope within [`FRAME_BYTES_MAX`].
pub const FRAGMENT_BYTES_MAX: usize = 240 * 1024;
/// How long the fragments of one batch may take to arrive; the default of `loro-protocol` v1.
pub const FRAGMENT_REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Batches of fragments one session may have open at once.
pub const FRAGMENT_BATCHES_OPEN_MAX: usize = 4;
/// Bytes one session may hold in unfinished fragments.
pub const FRAGMENT_BYTES_OPEN_MAX: usize = 4 * 1024 * 1024;
/// One snapshot that a server sends: that of a document which can be tried.
pub const SNAPSHOT_BYTES_MAX: usize = DRY_RUN_FRAME_BYTES_MAX;
/// Fragments of one snapshot.
pub const FRAGMENTS_PER_SNAPSHOT_MAX: u64 =
    SNAPSHOT_BYTES_MAX.div_ceil(FRAME_OUT_PAYLOAD_BYTES) as u64;
/// Bytes that a client may hold in unfinished snapshots, of all documents of a connection.
pub const SNAPSHOT_BYTES_OPEN_MAX: usize = 4 * SNAPSHOT_BYTES_MAX;
/// Documents one socket may have joined at once.
pub const DOCUMENTS_PER_SOCKET_MAX: usize = 1_024;
/// Updates in one batch.
pub const UPDATES_PER_BATCH_MAX: usize = 1_024;
/// The join payload (what a client says of itself).
pub const JOIN_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// A version vector in a join request: 20,000 peers of 12 bytes fit.
pub const VERSION_BYTES_MAX: usize = FRAME_BYTES_MAX - JOIN_PAYLOAD_BYTES_MAX;

// --- The engine -------------------------------------------------------------------------------

/// Text one import may insert. Importing an insertion costs time in the square of its length, so
/// this bounds every import, whoever does it: client, worker, fold, catch-up.
pub const INSERTED_TEXT_PER_IMPORT_BYTES_MAX: usize = 16 * 1024;
/// Text that is inserted in one piece; a longer text is written piece by piece, last to first, so that
/// the engine does not make one run of it.
pub const INSERTED_PIECE_BYTES_MAX: usize = 1024;
/// One update that a client may send. Larger spans are refused; those between
/// [`INSERTED_TEXT_PER_IMPORT_BYTES_MAX`] and this are cut into slices by the gate. One of this size goes
/// into a record, with what the gate stamps it with.
pub const UPDATE_BYTES_MAX: usize = 960 * 1024;
/// Operations (atoms) one update may hold.
pub const OPERATIONS_PER_UPDATE_MAX: u32 = 1_000_000;
/// Changes one update may hold.
pub const CHANGES_PER_UPDATE_MAX: usize = 65_536;
/// Peers whose changes one update may hold.
pub const PEERS_PER_UPDATE_MAX: usize = 1_024;
/// Dependencies one change may name.
pub const DEPENDENCIES_PER_CHANGE_MAX: usize = 256;
/// Dependencies that all changes of one update may name together. Long runs of them take a bit each.
pub const DEPENDENCIES_PER_UPDATE_MAX: usize = 262_144;
/// Entries of operations (each an insertion, a deletion, …, of any length) one update may hold. Equal
/// entries take no bytes, and the engine holds about 100 bytes for each.
pub const ENTRIES_PER_UPDATE_MAX: usize = 131_072;
/// Bytes of the sort keys of tree nodes in one update once they are spelled out; each is encoded as
/// what it adds to the one before.
pub const TREE_POSITION_BYTES_PER_UPDATE_MAX: usize = 4 * 1024 * 1024;
/// How deep containers may nest; reading a document walks them on a thread's stack.
pub const CONTAINER_DEPTH_MAX: usize = 100;
/// How far ahead of the server's clock a change's own timestamp may be. The engine lets every later
/// change inherit the largest it has seen, so one forged stamp would spoil all that follow.
pub const CHANGE_TIMESTAMP_AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys that the ephemeral state of one document may have.
pub const EPHEMERAL_ENTRIES_MAX: usize = 4_096;
/// Bytes of keys and values of one document's ephemeral state; a join sends it in one frame.
pub const EPHEMERAL_BYTES_MAX: usize = FRAGMENT_BYTES_MAX - 64 * 1024;
/// How deep an ephemeral value may nest.
pub const EPHEMERAL_VALUE_DEPTH_MAX: usize = 64;
/// How far ahead of ours the clock of an ephemeral entry's writer may be: the last writer wins, so a
/// forged stamp would hold its key until then.
pub const EPHEMERAL_TIMESTAMP_AHEAD_MAX: Duration = Duration::from_secs(10 * 60);

/// Memory of one dry-run worker process. In every replica, once anything concurrent was imported, the
/// engine keeps a version vector for each operation that was written on top of several others: 16.5 KB
/// an operation where 50 people type, 1.3 KB where 10 do. What 50 people typed in 158 s did not fit into
/// 256 MB.
pub const DRY_RUN_WORKER_MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The part of a worker's memory that has to be left once it has opened a document: one in so many. A
/// document that leaves less is too large, or whoever adds to it next would be blamed for what it takes.
pub const DRY_RUN_HEADROOM_PER_MEMORY: u64 = 4;
/// Bytes that a worker may lose to documents in which the engine panicked, and which can't be dropped,
/// before it is replaced.
pub const DRY_RUN_LEAKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Processor time one update may take in the dry run.
pub const DRY_RUN_CPU_PER_UPDATE_MAX: Duration = Duration::from_millis(200);
/// How many times as much the updates may take of those who have just read the document, or whose updates
/// were cheap so far: what theirs cost beyond that is the document's doing, and refusing them would lose
/// honest work. Whoever else needs so much is sent away, and let try at length when he comes back, if not
/// many do.
pub const DRY_RUN_PATIENCE: u32 = 5;
/// How much more wall-clock than processor time a dry run may take before its worker is killed; workers
/// share the machine with everything else.
pub const DRY_RUN_WALL_PER_CPU_MAX: u32 = 10;
/// How long a worker may take to load a document, on top of the time for the updates.
pub const DRY_RUN_LOAD_TIME_MAX: Duration = Duration::from_secs(10);
/// One request to a dry-run worker or its answer. A document that does not fit can't be tried.
pub const DRY_RUN_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the documents that one worker keeps, by the engine's counts and by what the process holds;
/// the least recently used go first. The rest of its memory is for the document that it is at.
pub const DRY_RUN_DOCUMENTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Requests that may wait for the dry run's workers in all.
pub const DRY_RUN_WAITING_COUNT_MAX: usize = 4_096;
/// What a dying worker's last words may weigh.
pub const DRY_RUN_LAST_WORDS_BYTES_MAX: usize = 4 * 1024;
/// Harmful updates within [`SUSPENSION`] after which a principal is suspended.
pub const HARMFUL_UPDATES_MAX: usize = 3;
/// How long harmful updates are remembered, and how long a suspension lasts.
pub const SUSPENSION: Duration = Duration::from_secs(60 * 60);

// --- A room -----------------------------------------------------------------------------------

/// Bytes of a record's updates, with what each is stamped with. An update that has more alone has a record
/// to itself.
pub const RECORD_PAYLOAD_BYTES_MAX: usize = 768 * 1024;
/// Bytes of what a record says of one update besides the update, its dependencies, and ids that are texts.
pub const RECORD_STAMP_BYTES_MAX: usize = 256;
/// Bytes of one dependency of an update in a record.
pub const RECORD_DEPENDENCY_BYTES_MAX: usize = 24;
/// Bytes of an update in a record to itself, with what it is stamped with.
pub const RECORD_UPDATE_BYTES_MAX: usize = LOG_RECORD_BYTES_MAX - 4096;
/// Updates in one record.
pub const UPDATES_PER_RECORD_MAX: usize = 512;
/// Commands that may wait in front of a room.
pub const ROOM_QUEUE_COUNT_MAX: usize = 1_024;
/// Payload bytes that may wait at the gate of one room.
pub const ROOM_ADMISSION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Events that may wait for one session before it loses its stream and has to catch up.
pub const SESSION_QUEUE_COUNT_MAX: usize = 256;
/// Payload bytes of one session that may wait at the gate of a room; more waits with the client.
pub const SESSION_ADMISSION_BYTES_MAX: usize = UPDATE_BYTES_MAX;
/// For how long a room refuses what comes after a trial that could not be had: each attempt may load the
/// document, and cost a worker.
pub const TRIAL_PAUSE: Duration = Duration::from_secs(1);
/// Updates of a session that flies alone,
pub const UPDATES_ALONE_MAX: usize = 16;
/// and the time that trying them may take by what the last update cost, since everybody waits for it.
pub const TRIAL_ALONE_TIME: Duration = Duration::from_millis(100);
/// Processor time of one update's trial up to which it is cheap.
pub const TRIAL_CHEAP_PER_UPDATE_MAX: Duration = Duration::from_millis(10);
/// The same for an update of somebody who was at most [`LAG_FRESH_COUNT_MAX`] updates behind: what it
/// costs beyond that is the document's doing.
pub const TRIAL_FRESH_PER_UPDATE_MAX: Duration = Duration::from_millis(50);
/// Updates that may have landed unseen by a writer who is up to date.
pub const LAG_FRESH_COUNT_MAX: u64 = 64;
/// Updates of a document of which it is known what their writers had seen.
pub const LAG_WINDOW_COUNT: usize = 256;
/// How many more cheap than dear updates a session must have sent to fly together with others.
pub const STANDING_TOGETHER_MIN: u32 = 8;
/// How many more of them count.
pub const STANDING_MAX: u32 = 2 * STANDING_TOGETHER_MIN;
/// Of a room's time, one part in so many may be spent on trying what one session flies alone.
pub const TRIAL_ALONE_SHARE: u32 = 20;
/// The same, one part in so many, on trying what is dear of all those who fly alone, while there is somebody
/// who does not: there may be a new one each second.
pub const TRIAL_STRANGERS_SHARE: u32 = 10;
/// For how long they save up the time that was not spent so.
pub const TRIAL_STRANGERS_BURST: Duration = Duration::from_millis(500);
/// For how long a session saves up the time that was not spent so.
pub const TRIAL_ALONE_BURST: Duration = Duration::from_secs(1);
/// Updates that may wait at the gate for their dependencies, in one room.
pub const WAITING_UPDATES_COUNT_MAX: usize = 1_024;
/// Bytes that may wait at the gate for their dependencies, in one room.
pub const WAITING_UPDATES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long an update may wait at the gate for its dependencies.
pub const WAITING_UPDATES_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of recent updates that a room keeps to feed its sessions from.
pub const RECENT_UPDATES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Updates of the recent ones with which somebody who holds some of the document is brought up to date.
/// Whoever lacks more is sent a snapshot, which takes the importer less time in all, and all at once.
pub const RECENT_UPDATES_FED_MAX: u64 = 4_096;
/// Updates that a session is sent in one frame, which its client imports at once.
pub const UPDATES_PER_FRAME_MAX: usize = 256;
/// How often a room offers a slow session what it could not take, before the window moves past it.
pub const SLOW_SESSION_RETRY: Duration = Duration::from_millis(20);
/// Times an append whose result is not known, or that failed, is tried again with the same bytes.
pub const APPEND_ATTEMPTS_MAX: u32 = 8;
/// The first pause between such attempts; each next one is twice as long,
pub const APPEND_RETRY_PAUSE: Duration = Duration::from_millis(10);
/// up to this, at which a number that was given up is filled as soon as the log takes anything again.
pub const APPEND_RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Times a room's state is read anew because the log was trimmed meanwhile.
pub const ROOM_OPEN_ATTEMPTS_MAX: usize = 3;
/// Times a reader of the log asks a store that is behind it for what it needs.
pub const STORE_BEHIND_ATTEMPTS_MAX: usize = 100;
/// The pause between two of them.
pub const STORE_BEHIND_PAUSE: Duration = Duration::from_millis(20);
/// Log entries that may wait in front of a room.
pub const ROOM_LOG_QUEUE_COUNT_MAX: usize = 256;
/// Entries that a reader takes from the log at once.
pub const LOG_READ_ENTRIES_MAX: usize = 512;
/// Bytes that a reader takes from the log at once.
pub const LOG_READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Principals whose harmful updates a node remembers.
pub const SUSPENDED_PRINCIPALS_MAX: usize = 100_000;
/// How long a room stays after its last session left.
pub const ROOM_IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// Rooms a node keeps, the least recently used idle ones closing first.
pub const ROOMS_COUNT_MAX: usize = 10_000;

// --- The pulse --------------------------------------------------------------------------------

/// Typists within [`PULSE_WINDOW`] from which a room beats.
pub const PULSE_TYPISTS_ON: usize = 4;
/// The same while what people type is dear to import.
pub const PULSE_TYPISTS_ON_DEAR: usize = 2;
/// Typists at or below which a room stops beating after [`PULSE_OFF_AFTER`].
pub const PULSE_TYPISTS_OFF: usize = 2;
/// The window in which a writer counts as typing.
pub const PULSE_WINDOW: Duration = Duration::from_secs(2);
/// The same in beats, if they are long.
pub const PULSE_WINDOW_BEATS_MIN: u32 = 3;
/// How long there must be few typists before the beat stops.
pub const PULSE_OFF_AFTER: Duration = Duration::from_secs(5);
/// The beat with up to [`PULSE_TYPISTS_FAST`] typists, to begin with.
pub const PULSE_BEAT_FAST: Duration = Duration::from_millis(60);
/// Typists up to which the fast beat holds.
pub const PULSE_TYPISTS_FAST: usize = 10;
/// The beat with more typists than [`PULSE_TYPISTS_FAST`], to begin with.
pub const PULSE_BEAT_SLOW: Duration = Duration::from_millis(100);
/// The shortest beat that a quick way into the log leads to, with up to [`PULSE_TYPISTS_FAST`] typists.
pub const PULSE_BEAT_FAST_MIN: Duration = Duration::from_millis(40);
/// The same with more typists. Each beat costs every replica an import, whatever is in it.
pub const PULSE_BEAT_SLOW_MIN: Duration = Duration::from_millis(60);
/// The longest beat that a slow way into the log leads to. Text is seen two beats late at worst. Once
/// imports take longer than a beat, nobody commits in time and they never get cheap again; a beat in which
/// all have imported ends that.
pub const PULSE_BEAT_MAX: Duration = Duration::from_secs(2);
/// The beat to begin with where people type in several rooms of a document.
pub const PULSE_BEAT_SHARED: Duration = Duration::from_millis(120);
/// The shortest beat of such rooms. The way from one to the other leads through a broker at least.
pub const PULSE_BEAT_SHARED_MIN: Duration = Duration::from_millis(60);
/// The part of such a beat, one in so many, that a flight waits for the others who write on it. What fetches
/// records from afar takes the first at once and the next only after a whole way there and back.
pub const PULSE_SHARED_COMPANY_SHARE: u32 = 8;
/// How long a room watches the way into the log before it makes the beat longer or shorter.
pub const PULSE_WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Beats that a room watches at least,
pub const PULSE_WATCHED_BEATS_MIN: u32 = 4;
/// and updates without which it has not seen enough of that way.
pub const PULSE_WATCHED_COUNT_MIN: u32 = 5;
/// One update in so many may be late: some stragglers don't spoil the pulse.
pub const PULSE_LATE_ONE_IN: u32 = 4;
/// The same where people type in several rooms. What comes late from afar is what all wrote there.
pub const PULSE_SHARED_LATE_ONE_IN: u32 = 8;
/// Beats in which nothing is watched after it has changed where people type in several rooms, as they come to
/// it one after the other.
pub const PULSE_SHARED_SETTLING_BEATS: u32 = 2;
/// How long a beat that was too short there is not tried again.
pub const PULSE_SHARED_TOO_SHORT_TIME: Duration = Duration::from_secs(20);
/// Operations of a frame that later updates are compared with.
pub const PULSE_FRAME_SPANS_MAX: usize = 256;

// --- Merging and the store --------------------------------------------------------------------

/// How long the merger waits to fill a micro-batch; an idle one commits at once.
pub const MERGE_WAIT_MAX: Duration = Duration::from_millis(20);
/// Payload bytes of one merge transaction. FoundationDB advises 1 MB and refuses 10 MB.
pub const MERGE_TRANSACTION_BYTES_MAX: usize = 1_000_000;
/// Times a batch is tried before it goes back to its queue.
pub const MERGE_ATTEMPTS_MAX: usize = 5;
/// Documents that a partition's merger works on side by side.
pub const MERGE_CONCURRENT_DOCUMENTS: usize = 8;
/// Documents whose fold's state a partition's merger keeps.
pub const MERGE_STATES_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// The pause before a partition whose merging failed is tried again; each next one is twice as long,
pub const MERGE_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// up to this.
pub const MERGE_RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Documents that may wait for a fold.
pub const FOLD_QUEUE_COUNT_MAX: usize = 10_000;
/// How often documents are looked through for changes that have stood long enough to be folded.
pub const FOLD_AGE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// A fold is due after this many updates since the snapshot,
pub const FOLD_UPDATES_MAX: u64 = 1_000;
/// or when they are this part of the snapshot's bytes, since who joins is sent both,
pub const FOLD_TAIL_PER_SNAPSHOT: u64 = 8;
/// though not before they are this many bytes,
pub const FOLD_TAIL_BYTES_MIN: u64 = 32 * 1024;
/// and no later than at this many,
pub const FOLD_TAIL_BYTES_MAX: u64 = 256 * 1024;
/// or when changes have stood this long.
pub const FOLD_AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// Snapshots that one sweep of a document looks at, of which two are in use and the rest orphans.
pub const ORPHAN_SNAPSHOTS_PER_SWEEP_MAX: usize = 100;
/// How long snapshot chunks that no pointer names are kept.
pub const ORPHAN_CHUNK_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// FoundationDB's transaction size limit, <https://apple.github.io/foundationdb/known-limitations.html>.
pub const TRANSACTION_BYTES_MAX: usize = 10_000_000;
/// FoundationDB's transaction duration limit, same source.
pub const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(5);
/// FoundationDB's value limit, same source.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// FoundationDB's key limit, same source.
pub const KEY_BYTES_MAX: usize = 10_000;
/// Bytes of one stored chunk of a snapshot or of a large payload, below [`VALUE_BYTES_MAX`].
pub const CHUNK_BYTES_MAX: usize = 90_000;

/// The pause after a transaction's first retryable failure; FoundationDB's own default.
pub const TRANSACTION_BACKOFF_FIRST: Duration = Duration::from_millis(10);
/// The longest pause between two attempts of a transaction; FoundationDB's own default.
pub const TRANSACTION_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Keys of recent commits that the embedded store remembers to find conflicts; a transaction that
/// began before them is too old.
pub const RECENT_COMMITS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Commits that may wait for the embedded store's writer; more wait with their callers.
pub const COMMIT_QUEUE_COUNT_MAX: usize = 256;
/// Waiting commits that the embedded store writes in one step.
pub const COMMIT_GROUP_COUNT_MAX: usize = 64;
/// Bytes after which the embedded store syncs although nobody asked: what redb holds for commits
/// without durability stays bounded.
pub const UNSYNCED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Heads that are kept in a document's head; a document with more of them does not name them there.
pub const FRONTIERS_IN_HEAD_COUNT_MAX: usize = 1_024;
/// Digests of spans that one question about a peer's span is answered with.
pub const SPAN_DIGESTS_COUNT_MAX: usize = 4_096;

// --- The gateway ------------------------------------------------------------------------------

/// How long a new socket may take until its first join; it holds memory and shows nobody.
pub const FIRST_JOIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a join may take before it is answered with `unavailable`.
pub const JOIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a socket is pinged, which also keeps the proxies on its way from closing it.
pub const SOCKET_PING_INTERVAL: Duration = Duration::from_secs(20);
/// A socket that said nothing for this long, not even a pong, is dead: three pings went unanswered.
pub const SOCKET_SILENCE_MAX: Duration = Duration::from_secs(65);
/// How long one write to a socket may take before the client counts as gone.
pub const SOCKET_WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the last messages and the close frame of a socket may take.
pub const SOCKET_CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
/// A socket's read buffer; tungstenite allocates it for every connection, 128 KiB if it isn't told.
/// A keystroke's frame fits several times over; larger frames are read in steps of it.
pub const SOCKET_READ_BUFFER_BYTES: usize = 1024;
/// Bytes that a socket gathers before it writes; a flush writes what there is.
pub const SOCKET_WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes that a socket may hold unwritten: one frame over the buffer, and room for its envelope.
pub const SOCKET_WRITE_BUFFER_BYTES_MAX: usize = SOCKET_WRITE_BUFFER_BYTES + 2 * FRAME_BYTES_MAX;
/// Payload of the frames that the gateway sends; larger updates go in fragments. A socket keeps a
/// buffer of the largest frame it ever wrote, so this bounds what an idle one holds.
pub const FRAME_OUT_PAYLOAD_BYTES: usize = 16 * 1024;
/// Messages that may wait for a socket's writer, for its documents together.
pub const SOCKET_QUEUE_COUNT_MAX: usize = 64;
/// Messages that are written before a flush.
pub const SOCKET_FLUSH_COUNT_MAX: usize = 64;
/// Batches of one document that may wait between the socket and the room.
pub const SUBMISSIONS_WAITING_MAX: usize = 8;
/// Text messages from a client: keepalive and small JSON.
pub const CLIENT_TEXT_BYTES_MAX: usize = 1024;
/// Fragments of one batch; the largest update then comes in fragments of 4 KiB or more.
pub const FRAGMENTS_PER_BATCH_MAX: u64 = 256;
/// Messages a second from one socket; above it, its reading is slowed down.
pub const SOCKET_MESSAGES_PER_SECOND_MAX: u32 = 500;
/// Bytes a second from one socket; above it, its reading is slowed down.
pub const SOCKET_BYTES_PER_SECOND_MAX: u32 = 8 * 1024 * 1024;
/// Times in a row that a stock client is told to join a document again before it is told to stay out.
pub const REJOINS_SUGGESTED_MAX: u32 = 3;
/// New sockets a second that a gateway takes; the others are told when to come back.
pub const CONNECTIONS_PER_SECOND_MAX: u32 = 500;
/// Sockets that a gateway holds at once.
pub const CONNECTIONS_COUNT_MAX: usize = 50_000;
/// Within what time clients of a draining gateway shall connect elsewhere, each at a random moment.
pub const DRAIN_RECONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long a draining gateway leaves its sockets open, so that acks on their way arrive.
pub const DRAIN_NOTICE_TIME: Duration = Duration::from_millis(500);

// --- Connections ------------------------------------------------------------------------------

/// How long a request's head may take to arrive, and a connection be without one.
pub const HTTP_HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Calls of one HTTP/2 connection that may be open at once.
pub const HTTP_STREAMS_PER_CONNECTION_MAX: u32 = 32;
/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Handshakes of one listener that may go on at once.
pub const TLS_HANDSHAKES_COUNT_MAX: usize = 1_024;
/// How often a listener looks whether its certificate was renewed.
pub const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(30);

// --- Presence ---------------------------------------------------------------------------------

/// How long what a session shows outlives its last renewal.
pub const PRESENCE_TIME_TO_LIVE: Duration = Duration::from_secs(2);
/// How often a node renews what its open sessions show.
pub const PRESENCE_RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest pause between two updates from a session, and between two to it: 20 a second.
pub const PRESENCE_UPDATE_INTERVAL: Duration = Duration::from_millis(50);
/// Entries that a node tells a document's sessions of each other in a second, all together; the more sessions
/// there are, the longer each waits for more. Fifty hear of each other's every movement.
pub const PRESENCE_ENTRIES_TOLD_PER_SECOND_MAX: u32 = 100_000;
/// Entries that one session may show in a document.
pub const PRESENCE_ENTRIES_PER_SESSION_MAX: usize = 16;
/// Bytes of all entries that one session shows in a document.
pub const PRESENCE_BYTES_PER_SESSION_MAX: usize = 8 * 1024;
/// Sessions that may show themselves in a document; more can watch.
pub const PRESENCE_SESSIONS_PER_DOCUMENT_MAX: usize = 1_000;
/// Messages of presence that may wait for one session before they are merged into one.
pub const PRESENCE_QUEUE_COUNT_MAX: usize = 4;
/// News of presence that may wait for one node before it reads a document's presence anew.
pub const PRESENCE_NEWS_WAITING_MAX: usize = 4_096;
/// How long a presence store may take to answer. What comes later is no presence any more.
pub const PRESENCE_STORE_TIME_MAX: Duration = Duration::from_millis(500);
/// The longest pause between two attempts to reach a presence store,
pub const PRESENCE_STORE_RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// and how many there are before somebody has to ask for it again, as renewals do.
pub const PRESENCE_STORE_RETRIES_MAX: usize = 4;
/// How deep the values of an entry may nest.
pub const PRESENCE_VALUE_DEPTH_MAX: usize = 16;

// --- Catching up ------------------------------------------------------------------------------

/// Operations of one catch-up chunk.
pub const CATCH_UP_OPERATIONS_MAX: usize = 5_000;
/// Bytes of one catch-up chunk.
pub const CATCH_UP_BYTES_MAX: usize = 1024 * 1024;

/// Stored bytes that one catch-up step looks through, known updates included: what one transaction
/// can read within its time.
pub const CATCH_UP_SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;

// --- Reading ----------------------------------------------------------------------------------

/// Estimated bytes of the materialised documents that a history node keeps,
pub const REPLICAS_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// and their count.
pub const REPLICAS_COUNT_MAX: usize = 10_000;

// --- Clocks -----------------------------------------------------------------------------------

/// How far ahead of ours a remote stamp may be and still be adopted.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_millis(500);
/// How far ahead of use the stamp ceiling is persisted. A restarted node begins there, so it is less
/// than [`CLOCK_SKEW_MAX`]: other nodes go on trusting its stamps.
pub const CLOCK_CEILING_STEP: Duration = Duration::from_millis(250);

// --- A process ---------------------------------------------------------------------------------

/// How long a process that was asked to stop may take to drain. Orchestrators commonly kill after
/// 30 s, and a client that waits longer than this has reconnected elsewhere.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

// --- FoundationDB -----------------------------------------------------------------------------

/// What all keys of a store may begin with, so that several stores can share a cluster. FoundationDB
/// takes as much beside a key of [`KEY_BYTES_MAX`], for the prefixes of its tenants.
pub const FOUNDATIONDB_PREFIX_BYTES_MAX: usize = 8;
/// How long the client tries to have a transaction answered, from its beginning; by itself it would try
/// for ever. Longer than [`TRANSACTION_TIME_MAX`], at which a cluster that answers refuses by itself.
pub const FOUNDATIONDB_TRANSACTION_TIME_MAX: Duration = Duration::from_secs(6);

// --- The embedded log -------------------------------------------------------------------------

/// Partitions that an embedded log may have; each segment's header holds 16 bytes for every one.
pub const EMBEDDED_LOG_PARTITIONS_MAX: u32 = 1_024;
/// Appends that may wait for their group.
pub const EMBEDDED_LOG_QUEUE_COUNT_MAX: usize = 8_192;
/// Record bytes that may wait for their group.
pub const EMBEDDED_LOG_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of one group, which is written and synced as a whole, and the most that a read holds at once.
pub const EMBEDDED_LOG_GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes from which on a segment is closed. A segment is what trimming removes.
pub const EMBEDDED_LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// How far ahead of the groups a segment is filled with zeros.
pub const EMBEDDED_LOG_FILL_BYTES: u64 = 256 * 1024;
/// Space that only trims may use, so that a full disk can be emptied.
pub const EMBEDDED_LOG_TRIM_RESERVE_BYTES: u64 = 64 * 1024;
/// Journal bytes that one point of a partition's index covers.
pub const EMBEDDED_LOG_INDEX_POINT_BYTES: u64 = 64 * 1024;
/// Bytes of the newest entries that are kept in memory for those who follow the tail.
pub const EMBEDDED_LOG_RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Reads that may be at the disk at once.
pub const EMBEDDED_LOG_DISK_READS_MAX: usize = 4;
/// Unsynced bytes of a file that a faulty disk keeps in memory; tests only.
pub const FAULTY_DISK_UNSYNCED_BYTES_MAX: usize = 64 * 1024 * 1024;

// --- Blobs ------------------------------------------------------------------------------------

/// One blob: room for the largest snapshot, or a segment of the log, with what is around it.
pub const BLOB_BYTES_MAX: usize = 2 * SNAPSHOT_BYTES_MAX;
/// Bytes of a blob that are read at once.
pub const BLOB_PIECE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Operations of one blob store that are at work at once; more wait for their turn.
pub const BLOB_OPERATIONS_MAX: usize = 8;
/// The same in a directory, where those that were given up stay at work until the disk answers.
pub const BLOB_DISK_OPERATIONS_MAX: usize = 4;
/// How long storing or reading a blob, or a piece of it, may take, with its turn and all attempts.
pub const BLOB_OPERATION_TIME_MAX: Duration = Duration::from_secs(60);
/// How long connecting to an object store may take.
pub const BLOB_CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long one request to an object store may take: the largest blob at 5 MB a second.
pub const BLOB_REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Times a request to an object store is sent again.
pub const BLOB_RETRIES_MAX: usize = 3;
/// The first pause before that; each next one is about twice as long,
pub const BLOB_RETRY_PAUSE: Duration = Duration::from_millis(100);
/// up to this.
pub const BLOB_RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long after its first attempt a request is still sent again.
pub const BLOB_RETRY_TIME_MAX: Duration = Duration::from_secs(20);

// --- Clients ----------------------------------------------------------------------------------

/// Batches of one document that a client sends before it waits for an ack.
pub const BATCHES_IN_FLIGHT_MAX: usize = 8;
/// Payload bytes of one batch that a client sends, unless a single update is larger.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;
/// How long a client groups keystrokes before it commits them, when no pulse says when.
pub const KEYSTROKE_GROUP_MAX: Duration = Duration::from_millis(100);
/// Beats after which a client that hears no pulse commits anyway.
pub const PULSE_MISSED_BEATS_MAX: u32 = 2;
/// How long a client holds edits back for the sake of others' imports: for an ack, for what it is
/// being sent as it joins, and for what has arrived and is not read yet.
pub const PULSE_LATE_MAX: Duration = Duration::from_secs(1);
/// Updates that a client keeps for sending before it cuts them anew into fewer.
pub const UNSENT_UPDATES_COUNT_MAX: usize = 512;
/// Transactions of an application that may wait for the next commit of a document.
pub const TRANSACTIONS_WAITING_MAX: usize = 256;
/// Positions that an application may have kept up to date in one document.
pub const MARKS_COUNT_MAX: usize = 1_024;
/// Events that may wait for one subscriber before it misses the oldest.
pub const CLIENT_EVENTS_WAITING_MAX: usize = 1_024;
/// The first pause before a client connects again; it doubles up to [`RECONNECT_PAUSE_MAX`].
pub const RECONNECT_PAUSE_FIRST: Duration = Duration::from_secs(2);
/// The longest pause before a client connects again.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first pause before a client sends a batch again, or joins a document again.
pub const RESEND_PAUSE_FIRST: Duration = Duration::from_millis(250);
/// How long connecting may take, with the WebSocket's handshake.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a client sends a keepalive.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long a connection may be silent before a client takes it for dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long a client waits for an ack or for the answer to a join before it joins again.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Times a client loads a document anew, without once catching up, before it gives up on it.
pub const RELOADS_MAX: u32 = 3;

// --- Replaying traces -------------------------------------------------------------------------

/// Clients of one replay.
pub const REPLAY_CLIENTS_MAX: usize = 256;
/// Own operations that a replaying client has unacknowledged before it waits.
pub const REPLAY_WINDOW_OPERATIONS: u64 = 256;
/// How long a replay waits, after the last edit, until everybody has everything.
pub const REPLAY_SETTLE_TIME_MAX: Duration = Duration::from_secs(120);
/// JSON bytes of a trace.
pub const TRACE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Edits of a trace.
pub const TRACE_EDITS_MAX: usize = 10_000_000;
/// Bytes of an answer that a replay reads from the server.
pub const REPLAY_ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

const _: () = assert!(FRAGMENT_BYTES_MAX + 4096 < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_OUT_PAYLOAD_BYTES <= FRAGMENT_BYTES_MAX);
const _: () = assert!(UPDATE_BYTES_MAX as u64 / FRAGMENTS_PER_BATCH_MAX <= 4096);
const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX < RECORD_UPDATE_BYTES_MAX);
const _: () = assert!(UPDATE_BYTES_MAX + 32 * 1024 < RECORD_UPDATE_BYTES_MAX);
const _: () = assert!(MERGE_TRANSACTION_BYTES_MAX < TRANSACTION_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX < VALUE_BYTES_MAX);
const _: () =
    assert!(FOUNDATIONDB_TRANSACTION_TIME_MAX.as_millis() > TRANSACTION_TIME_MAX.as_millis());
const _: () = assert!(INSERTED_TEXT_PER_IMPORT_BYTES_MAX < UPDATE_BYTES_MAX);
const _: () = assert!(LOG_RECORD_BYTES_MAX + 1024 < EMBEDDED_LOG_GROUP_BYTES_MAX);
const _: () = assert!(EMBEDDED_LOG_GROUP_BYTES_MAX < EMBEDDED_LOG_QUEUE_BYTES_MAX);
const _: () = assert!(BLOB_REQUEST_TIME_MAX.as_millis() < BLOB_OPERATION_TIME_MAX.as_millis());
const _: () = assert!(CLOCK_CEILING_STEP.as_millis() < CLOCK_SKEW_MAX.as_millis());
