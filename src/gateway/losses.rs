//! What a session does about rights that were taken from its person: gives up topics, and says so; and when the person
//! may not be here any more, hands out what came before that.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    protocol::{End, Told},
    session::Session,
    topics::Topic,
};

impl Session {
    /// Gives up the topics that were taken since it was last asked. Nothing more of them is sent.
    pub(super) async fn give_up_lost(&mut self) -> Result<(), End> {
        let Some(watch) = self.member.watched() else { return Ok(()) };
        let lost = watch.lost();
        if lost.is_empty() {
            return Ok(());
        }
        let mut revoked: BTreeMap<&'static str, Vec<Arc<str>>> = BTreeMap::new();
        for (word, (seq, reason)) in lost {
            let member = &mut self.member;
            self.subscriptions.retain(|known| {
                // An older row than the database was asked at takes nothing: the client may have come back since.
                let taken = known.is_named(&word) && seq > known.judged;
                if taken {
                    member.leave(&known.word);
                    revoked.entry(reason).or_default().push(known.word.clone());
                }
                !taken
            });
        }
        self.watch_subscriptions();
        for (reason, topics) in revoked {
            self.tell(Told::Revoked { topics: topics.iter().map(|word| &**word).collect(), reason }).await?;
        }
        Ok(())
    }

    /// Watches the organisations that are followed, and no others.
    pub(super) fn watch_subscriptions(&mut self) {
        let followed = self.subscriptions.iter().filter(|known| matches!(known.topic, Topic::Org(_)));
        let words = followed.map(|known| known.word.clone()).collect();
        self.member.watch_only(&words, |word| word.starts_with("org:"));
    }

    /// The end of a client that was ended. A person whose place was taken is handed what had been queued up to the row
    /// that took it: it says why. Only as far as their socket takes it at once.
    pub(super) async fn leave(&mut self, end: End) -> End {
        let barred = self.member.watched().and_then(|watch| watch.barred());
        // Where live frames wait for older ones, they would leave a gap.
        if barred.is_some() && !self.holds_back() {
            self.member.client().queue.take(&mut self.batch, usize::MAX);
            // However that ends, the client does.
            let _ = self.pass_on().await;
        }
        end
    }
}
