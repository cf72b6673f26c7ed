use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy in front of a server that holds what clients send, once so many bytes of a connection have
/// passed. So a test knows that the server has some of a request and not all of it.
pub struct Gate {
    address: SocketAddr,
    control: watch::Sender<Control>,
    held: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Default)]
struct Control {
    /// Bytes of each connection that pass from now on; all of them if there is none.
    passes: Option<u64>,
}

impl Gate {
    pub async fn open(server: &str) -> Self {
        let server: SocketAddr = server.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = watch::Sender::new(Control::default());
        let held = watch::Sender::new(0);
        let mut tasks = JoinSet::new();
        let (to_watch, to_tell) = (control.clone(), held.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let pass = pass(client, server, to_watch.subscribe(), to_tell.clone());
                connections.spawn(pass);
            }
        });
        Self {
            address,
            control,
            held,
            _tasks: tasks,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets so many bytes of each connection pass from now on, and no more.
    pub fn hold_after(&self, bytes: u64) {
        let passes = Some(bytes);
        self.control.send_replace(Control { passes });
    }

    /// Waits until so many connections have more to send than may pass.
    pub async fn until_held(&self, connections: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held >= connections).await.unwrap();
    }

    /// Lets everything pass.
    pub fn release(&self) {
        self.control.send_replace(Control::default());
    }
}

/// Passes one connection on. Whichever side goes away, the other sees it, as it would without a gate.
async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    control: watch::Receiver<Control>,
    held: watch::Sender<usize>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = pass_while_allowed(&mut from_client, &mut to_server, control, held);
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        _ = there => {}
        _ = back => {}
    }
}

async fn pass_while_allowed(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut control: watch::Receiver<Control>,
    held: watch::Sender<usize>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if control.has_changed().unwrap_or(false) {
            control.mark_unchanged();
            passed = 0;
        }
        let may_pass =
            |control: &Control| control.passes.is_none_or(|max| passed + read as u64 <= max);
        let allowed = may_pass(&control.borrow());
        if !allowed {
            held.send_modify(|held| *held += 1);
            let released = control.wait_for(|control| control.passes.is_none()).await;
            if released.is_err() {
                return Ok(());
            }
        }
        to.write_all(&buffer[..read]).await?;
        passed += read as u64;
    }
}
