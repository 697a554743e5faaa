//! Connections: time limits for senders and readers, and a lingering close for senders that are answered early.
//!
//! - A head of a request and the wait for the next request have limits ([`Limits`]); where the process ends, a connection
//!   without a request under way ends at once.
//! - An answer that goes on for hours would otherwise be held, and the end of the process with it, for a reader who has
//!   gone to sleep; HTTP itself sets a write no time.
//! - A request that is refused before its body was read is answered at once. Closing a socket with unread bytes resets the
//!   connection, and the reset discards the answer at a sender that sends everything before it reads. So the sending half
//!   is closed first, and what still comes is read and dropped: a bounded number of bytes for a bounded time.

mod activity;
mod places;
mod server;

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use activity::Activity;
use places::Place;

pub use activity::Limits;
pub use places::Places;
pub use server::Server;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    patience: OnceLock<Duration>,
    activity: Activity,
}

impl Peer {
    /// From here on the connection is given up once they have taken nothing for so long of what is there for them. Said
    /// again, the first word holds.
    pub fn must_read_within(&self, limit: Duration) {
        let _ = self.shared.patience.set(limit);
    }
}

/// A connection.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    /// Runs while a write waits for the reader.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while a read waits for the sender.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes that the lingering close still drops.
    drop_bytes: usize,
    lingering: Option<Lingering>,
    /// Ended without an answer: there is nothing to linger for.
    given_up: bool,
    _place: Place,
}

/// What is dropped of a refused request beyond the largest body that is taken.
const DROP_BEYOND_LIMIT: usize = 2 << 20;
/// How long the lingering close waits for the next bytes, how long it takes at most, and how long it waits when the
/// process ends.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_TOTAL: Duration = Duration::from_secs(10);
const LINGER_AT_END: Duration = Duration::from_millis(200);

/// Timers of a lingering close.
#[derive(Debug)]
struct Lingering {
    idle: Pin<Box<Sleep>>,
    total: Pin<Box<Sleep>>,
}

impl Line {
    /// What a write came to; an error where it has waited for too long.
    fn judge(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(limit) = self.shared.patience.get().filter(|_| written.is_pending()) else {
            self.stalled = None;
            return written;
        };
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(*limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits for the sender: an error where it has taken too long, the end where the process ends and nothing is under way.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.shared.activity;
        if activity.is_upgraded() {
            self.waiting = None;
            return Poll::Pending;
        }
        loop {
            if activity.is_quiet() && self.shutdown.is_cancelled() {
                self.given_up = true;
                return Poll::Ready(Ok(()));
            }
            // What is at work is looked at again later: its end wakes nothing here.
            let deadline = activity.deadline();
            let at = deadline.unwrap_or_else(|| activity.later(Instant::now()));
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(at)));
            // A timer that is early is cheaper than one that is moved with every request.
            if waiting.deadline() > at {
                waiting.as_mut().reset(at);
            }
            ready!(waiting.as_mut().poll(cx));
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.given_up = true;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            waiting.as_mut().reset(at);
        }
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
        let known = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => self.poll_waiting(cx),
            read => {
                let new = buffer.filled().get(known..).unwrap_or_default();
                if !new.is_empty() {
                    self.shared.activity.received(new, Instant::now);
                }
                read
            }
        }
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
            if self.given_up {
                return Poll::Ready(Ok(()));
            }
            let idle = if self.shutdown.is_cancelled() { LINGER_AT_END } else { LINGER_IDLE };
            self.lingering = Some(Lingering { idle: Box::pin(sleep(idle)), total: Box::pin(sleep(LINGER_TOTAL)) });
        }
        self.poll_linger(cx).map(Ok)
    }
}
