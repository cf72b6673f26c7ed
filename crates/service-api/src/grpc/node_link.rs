//! A gateway's stream to one node, opened again whenever it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Random;
use document_types::limits::{
    GRPC_MESSAGE_BYTES_MAX, SEAT_BATCHES_UNTAKEN_MAX, SERVICE_CONNECT_TIME_MAX,
    SERVICE_RECONNECT_PAUSE, SERVICE_RECONNECT_PAUSE_MAX, STREAM_QUEUE_COUNT_MAX,
};
use futures::stream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::v1::collaboration_service_client::CollaborationServiceClient;
use super::v1::connect_response::Message;
use super::v1::{ConnectRequest, ConnectResponse, Leave, connect_request};
use super::{NODES_CONNECTED, ServiceAddress, ServiceToken};

/// One node, connected to or not.
pub(super) struct NodeLink {
    pub(super) address: ServiceAddress,
    open: watch::Receiver<Option<Arc<OpenLink>>>,
}

/// A stream that is open, and the seats on it.
pub(super) struct OpenLink {
    requests: mpsc::Sender<ConnectRequest>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    ended: bool,
    used: u64,
    inboxes: HashMap<u64, Inbox>,
}

/// Where a seat's messages go.
pub(super) struct Inbox {
    pub(super) messages: mpsc::Sender<Message>,
    /// How many batches the room would still take.
    pub(super) untaken: Arc<Semaphore>,
}

/// The stream has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkEnded;

/// Why there is no stream to a node.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is nobody, or not one who speaks gRPC.
    #[error("the node can't be connected to")]
    Transport(#[from] tonic::transport::Error),
    /// It does not want this caller, or has no such service.
    #[error("the node refuses the call: {}", .0.message())]
    Refused(Box<Status>),
    /// It says nothing.
    #[error("the node does not answer in time")]
    Silent,
    /// The credential can't stand in a header.
    #[error("a credential has visible ASCII characters only")]
    Credential,
}

/// Whether there is a collaboration node at `address` that takes `token`.
///
/// # Errors
/// [`ConnectError`] says what is wrong.
pub async fn check_collaboration(
    address: &ServiceAddress,
    token: &ServiceToken,
) -> Result<(), ConnectError> {
    let connecting = timeout(SERVICE_CONNECT_TIME_MAX, connect(address, token)).await;
    connecting.unwrap_or(Err(ConnectError::Silent)).map(|_| ())
}

impl NodeLink {
    /// A link, and the work that keeps it open until `stop`.
    pub(super) fn new(
        address: ServiceAddress,
        token: ServiceToken,
        random: Random,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (opened, open) = watch::channel(None);
        let work = keep_open(address.clone(), token, opened, random);
        let work = async move {
            stop.run_until_cancelled(work).await;
        };
        (Self { address, open }, work)
    }

    /// The stream, if it is open.
    pub(super) fn open(&self) -> Option<Arc<OpenLink>> {
        self.open.borrow().clone()
    }

    /// Waits until the stream is open.
    pub(super) async fn opened(&self) {
        let mut open = self.open.clone();
        if open.wait_for(Option::is_some).await.is_err() {
            // Nobody opens it any more.
            std::future::pending().await
        }
    }
}

async fn keep_open(
    address: ServiceAddress,
    token: ServiceToken,
    opened: watch::Sender<Option<Arc<OpenLink>>>,
    random: Random,
) {
    let mut pause_max = SERVICE_RECONNECT_PAUSE;
    // Said once for each time that the node is away.
    let mut is_told = false;
    loop {
        let connecting = timeout(SERVICE_CONNECT_TIME_MAX, connect(&address, &token)).await;
        match connecting.unwrap_or(Err(ConnectError::Silent)) {
            Ok((link, responses)) => {
                tracing::info!(node = %address, "connected to a collaboration node");
                metrics::gauge!(NODES_CONNECTED).increment(1.0);
                let open = CloseOnDrop(&opened);
                opened.send_replace(Some(link.clone()));
                let end = link.read(responses).await;
                drop(open);
                tracing::warn!(node = %address, end, "the stream to a collaboration node ended");
                pause_max = SERVICE_RECONNECT_PAUSE;
                is_told = true;
            }
            Err(error) if !is_told => {
                tracing::warn!(
                    node = %address,
                    error = &error as &dyn std::error::Error,
                    "no stream to a collaboration node; it is tried again until there is one"
                );
                is_told = true;
            }
            Err(_) => {}
        }
        sleep(random.jitter(pause_max) + Duration::from_millis(1)).await;
        pause_max = (2 * pause_max).min(SERVICE_RECONNECT_PAUSE_MAX);
    }
}

async fn connect(
    address: &ServiceAddress,
    token: &ServiceToken,
) -> Result<(Arc<OpenLink>, Streaming<ConnectResponse>), ConnectError> {
    let channel = address.endpoint()?.connect().await?;
    open(channel, token.show()).await
}

/// Opens a stream on a connection; each call carries what `interceptor` adds.
pub(super) async fn open(
    channel: Channel,
    interceptor: impl Interceptor,
) -> Result<(Arc<OpenLink>, Streaming<ConnectResponse>), ConnectError> {
    let mut client = CollaborationServiceClient::with_interceptor(channel, interceptor)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX);
    let (requests, mut waiting) = mpsc::channel(STREAM_QUEUE_COUNT_MAX);
    let stream = stream::poll_fn(move |context| waiting.poll_recv(context));
    let refused = |status| ConnectError::Refused(Box::new(status));
    let responses = client.connect(stream).await.map_err(refused)?.into_inner();
    let seats = Mutex::default();
    Ok((Arc::new(OpenLink { requests, seats }), responses))
}

/// However the reading ends, joins go elsewhere.
struct CloseOnDrop<'a>(&'a watch::Sender<Option<Arc<OpenLink>>>);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
        metrics::gauge!(NODES_CONNECTED).decrement(1.0);
    }
}

/// However the reading ends, the seats learn of it.
struct EndSeats(Arc<OpenLink>);

impl Drop for EndSeats {
    fn drop(&mut self) {
        let mut seats = self.0.seats();
        seats.ended = true;
        seats.inboxes.clear();
    }
}

impl OpenLink {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new seat's number; from now on its messages go to `inbox`.
    pub(super) fn add(&self, inbox: Inbox) -> Result<u64, LinkEnded> {
        let mut seats = self.seats();
        if seats.ended {
            return Err(LinkEnded);
        }
        seats.used += 1;
        let number = seats.used;
        seats.inboxes.insert(number, inbox);
        Ok(number)
    }

    /// Asks the node something for a seat. Waits while the stream's queue is full.
    pub(super) async fn ask(
        &self,
        seat: u64,
        message: connect_request::Message,
    ) -> Result<(), LinkEnded> {
        let message = Some(message);
        let sending = self.requests.send(ConnectRequest { seat, message });
        sending.await.map_err(|_| LinkEnded)
    }

    /// Gives a seat up. If the queue has no room for the word, the node's next message for the seat
    /// finds nobody, and is answered with it.
    pub(super) fn leave(&self, seat: u64) {
        if self.seats().inboxes.remove(&seat).is_some() {
            self.say_left(seat);
        }
    }

    fn say_left(&self, seat: u64) {
        let message = Some(connect_request::Message::Leave(Leave {}));
        let _ = self.requests.try_send(ConnectRequest { seat, message });
    }

    /// Passes messages on until the stream ends; says how it did. The seats end with this, also if it is
    /// dropped before it began.
    pub(super) fn read(
        self: Arc<Self>,
        mut responses: Streaming<ConnectResponse>,
    ) -> impl Future<Output = String> + Send + 'static {
        let ends = EndSeats(self);
        async move {
            loop {
                match responses.message().await {
                    Ok(Some(ConnectResponse { seat, message })) => {
                        if let Some(message) = message {
                            ends.0.pass_on(seat, message);
                        }
                    }
                    Ok(None) => return "the other end closed it".into(),
                    Err(status) => return status.message().to_owned(),
                }
            }
        }
    }

    fn pass_on(&self, number: u64, message: Message) {
        let mut seats = self.seats();
        let last = matches!(message, Message::Closed(_));
        let Some(inbox) = seats.inboxes.get(&number) else {
            if !last {
                self.say_left(number);
            }
            return;
        };
        if let Message::TakenCount(count) = message {
            let room = SEAT_BATCHES_UNTAKEN_MAX.saturating_sub(inbox.untaken.available_permits());
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            inbox.untaken.add_permits(count.min(room));
            return;
        }
        // A node that keeps to the seat's credit never finds the inbox full.
        let full = inbox.messages.try_send(message).is_err();
        if last || full {
            seats.inboxes.remove(&number);
        }
        if full && !last {
            self.say_left(number);
        }
    }
}
