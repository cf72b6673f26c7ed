//! A server that gives each request the answer that a test wants.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The status and body to answer a method with; `None` answers nothing at all.
pub type Answer = dyn Fn(&str) -> Option<(u16, &'static str)> + Send + Sync;

/// Runs until it is dropped.
pub struct CannedServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl CannedServer {
    pub async fn start(
        answer: impl Fn(&str) -> Option<(u16, &'static str)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, Arc::clone(&answer)));
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one request and closes. A client that goes away is no failure of the test.
async fn serve(socket: TcpStream, answer: Arc<Answer>) {
    let mut socket = BufReader::new(socket);
    let (mut method, mut body_bytes) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if method.is_empty() {
            method = line.split(' ').next().unwrap().to_ascii_uppercase();
        }
        if let Some(length) = line.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_bytes];
    if socket.read_exact(&mut body).await.is_err() {
        return;
    }
    let Some((status, body)) = answer(&method) else {
        std::future::pending::<()>().await;
        return;
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\netag: \"x\"\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // The answer to HEAD has no body.
    let body = if method == "HEAD" { "" } else { body };
    let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
}
