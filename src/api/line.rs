//! Connections: a write timeout for readers that take nothing, and a lingering close for senders that are answered early.
//!
//! - An answer that goes on for hours would otherwise be held, and the end of the process with it, for a reader who has
//!   gone to sleep; HTTP itself sets a write no time.
//! - A request that is refused before its body was read is answered at once. Closing a socket with unread bytes resets the
//!   connection, and the reset discards the answer at a sender that sends everything before it reads. So the sending half
//!   is closed first, and what still comes is read and dropped: a bounded number of bytes for a bounded time.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    patience: Arc<OnceLock<Duration>>,
}

impl Peer {
    /// From here on the connection is given up once they have taken nothing for so long of what is there for them. Said
    /// again, the first word holds.
    pub fn must_read_within(&self, limit: Duration) {
        let _ = self.patience.set(limit);
    }
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    patience: Arc<OnceLock<Duration>>,
    /// Runs while a write waits for the reader.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes that the lingering close still drops.
    drop_bytes: usize,
    lingering: Option<Lingering>,
}

/// What is dropped of a refused request beyond the largest body that is taken.
const DROP_BEYOND_LIMIT: usize = 2 << 20;
/// How long the lingering close waits for the next bytes, and how long it takes at most.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_TOTAL: Duration = Duration::from_secs(10);

/// Timers of a lingering close.
#[derive(Debug)]
struct Lingering {
    idle: Pin<Box<Sleep>>,
    total: Pin<Box<Sleep>>,
}

impl Line {
    /// What a write came to; an error where it has waited for too long.
    fn judge(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(limit) = self.patience.get().filter(|_| written.is_pending()) else {
            self.stalled = None;
            return written;
        };
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(*limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and drops until the sender closes, too much has come, or it took too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Lingering { idle, total }) = &mut self.lingering else { return Poll::Ready(()) };
        let mut scratch = [0_u8; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && buffer.filled().len() <= self.drop_bytes => {
                    self.drop_bytes -= buffer.filled().len();
                    idle.as_mut().reset(Instant::now() + LINGER_IDLE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if idle.as_mut().poll(cx).is_ready() || total.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.lingering =
                Some(Lingering { idle: Box::pin(sleep(LINGER_IDLE)), total: Box::pin(sleep(LINGER_TOTAL)) });
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// Accepts [`Line`]s.
#[derive(Debug)]
pub struct Lines {
    listener: TcpListener,
    drop_bytes: usize,
}

impl Lines {
    /// On this listener; `max_body` is the largest body that a route takes.
    pub fn new(listener: TcpListener, max_body: usize) -> Self {
        Self { listener, drop_bytes: max_body.saturating_add(DROP_BEYOND_LIMIT) }
    }
}

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // A frame that waits for the acknowledgement of the last one is late.
        let _ = stream.set_nodelay(true);
        let line =
            Line { stream, patience: Arc::default(), stalled: None, drop_bytes: self.drop_bytes, lingering: None };
        (line, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        Self { address: *stream.remote_addr(), patience: stream.io().patience.clone() }
    }
}
