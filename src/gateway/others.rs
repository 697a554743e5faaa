//! What a session waits for beside its queue, looked at only when it calls: most wakings are for the queue alone, and
//! looking at ten thousand idle sockets, timers and signals for each row costs more than writing to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

#[derive(Debug)]
pub(super) struct Others {
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the session, and remembers that it did.
#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    session: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.session.wake();
    }
}

impl Others {
    /// Nothing has been looked at yet.
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), session: AtomicWaker::new() });
        Self { waker: bell.clone().into(), bell }
    }

    /// Looks, if anything called since all was found pending. What is found ready may not be all: it is looked at again
    /// the next time.
    pub(super) fn look<T>(
        &mut self,
        context: &mut Context<'_>,
        look: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.session.register(context.waker());
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let found = look(&mut Context::from_waker(&self.waker));
        if found.is_ready() {
            self.bell.rung.store(true, Ordering::Release);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    #[tokio::test]
    async fn looks_when_called_and_again_after_something_was_ready() {
        let (mut others, mut looks) = (Others::new(), 0);
        let (sender, mut receiver) = oneshot::channel();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut seen = |context: &mut Context<'_>| {
                looks += 1;
                std::pin::Pin::new(&mut receiver).poll(context)
            };
            assert!(others.look(&mut context, &mut seen).is_pending());
        }
        assert_eq!(looks, 1, "nothing called");
        sender.send(7).unwrap();
        assert_eq!(
            others.look(&mut context, |context| std::pin::Pin::new(&mut receiver).poll(context)),
            Poll::Ready(Ok(7))
        );
        assert_eq!(others.look(&mut context, |_| Poll::Ready(8)), Poll::Ready(8), "there may be more");
    }

    #[tokio::test]
    async fn a_call_wakes_whoever_waits() {
        let (mut others, (sender, mut receiver)) = (Others::new(), oneshot::channel());
        let waits = poll_fn(|context| others.look(context, |context| std::pin::Pin::new(&mut receiver).poll(context)));
        let (found, ()) = tokio::join!(timeout(Duration::from_secs(20), waits), async {
            tokio::task::yield_now().await;
            sender.send(7).unwrap();
        });
        assert_eq!(found.unwrap(), Ok(7));
    }
}
