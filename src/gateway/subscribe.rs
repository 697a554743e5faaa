//! `subscribe` and `unsubscribe`: which topics a client means, whether it may, and from where on.

use sea_orm::DbErr;

use crate::outbox::feed::bounds;

use super::{
    Gateway,
    hub::Joined,
    names::Names,
    protocol::{End, Told},
    rights::Grant,
    session::Session,
    subscription::{Replay, Subscription},
    topics::Topic,
};

/// Where a client wants to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// At the present.
    Now,
    /// After a row that it has.
    After(i64),
    /// After a row that means nothing here, or that has been trimmed since.
    Lost,
}

impl Session {
    /// Takes the topics up and answers `subscribed`; what cannot be had is told in `error` frames.
    pub(super) async fn subscribe(
        &mut self,
        words: &[String],
        after: Option<i64>,
        epoch: Option<&str>,
    ) -> Result<(), End> {
        if words.len() > self.gateway.config.max_topics {
            return self.tell(Told::error("too_many_topics")).await;
        }
        let mut asked = Vec::new();
        for word in words {
            match self.identity.topic(word) {
                Some(topic) if self.identity.may_ask(&topic) => asked.push((word.as_str(), topic)),
                Some(_) => self.refuse(word, "forbidden").await?,
                None => self.refuse(word, "invalid_topic").await?,
            }
        }
        if asked.is_empty() && !words.is_empty() {
            return Ok(());
        }
        // Watched before the database is asked: what is taken meanwhile is noted.
        for (_, topic) in asked.iter().filter(|(_, topic)| matches!(topic, Topic::Org(_))) {
            self.member.watch(topic.word().into());
        }
        let done = self.subscribe_to(asked, after, epoch).await;
        self.watch_subscriptions();
        done
    }

    async fn refuse(&mut self, word: &str, code: &'static str) -> Result<(), End> {
        self.tell(Told::Error { code, topic: Some(word) }).await
    }

    async fn subscribe_to(
        &mut self,
        asked: Vec<(&str, Topic)>,
        after: Option<i64>,
        epoch: Option<&str>,
    ) -> Result<(), End> {
        let gateway = self.gateway.clone();
        let topics: Vec<Topic> = asked.iter().map(|(_, topic)| topic.clone()).collect();
        let member = self.identity.named().map_or("", |named| named.clerk_id);
        let looked_up =
            async { Ok((Names::load(&gateway.db.read, &topics, member).await?, from(&gateway, after, epoch).await?)) };
        let (names, from) = match looked_up.await {
            Ok(found) => found,
            Err(error) => {
                let error: DbErr = error;
                tracing::warn!(error = %crate::db::Quiet(&error), "a client cannot subscribe: the database");
                return self.tell(Told::error("not_ready")).await;
            }
        };
        let none_asked = asked.is_empty();
        let mut grants = Vec::new();
        for (word, topic) in asked {
            match self.identity.grant(topic, &names) {
                Some(grant) => grants.push(grant),
                None => self.refuse(word, "forbidden").await?,
            }
        }
        if grants.is_empty() && !none_asked {
            return Ok(());
        }
        let (old, new) = self.sort(grants);
        if self.subscriptions.len() + new.len() > self.gateway.config.max_topics {
            return self.tell(Told::error("too_many_topics")).await;
        }
        self.take_up(old, new, from).await
    }

    /// Forgets the topics; frames of theirs that are under way are not sent.
    pub(super) fn unsubscribe(&mut self, words: &[String]) {
        for topic in words.iter().filter_map(|word| self.identity.topic(word)) {
            let member = &mut self.member;
            self.subscriptions.retain(|known| {
                let meant = known.is(&topic);
                if meant {
                    member.leave(&known.word);
                }
                !meant
            });
        }
        self.watch_subscriptions();
    }

    /// Which of the topics are followed already, by subscription, and which are not; each once. What is followed under
    /// another name keeps that name.
    fn sort(&self, grants: Vec<Grant>) -> (Vec<u64>, Vec<Grant>) {
        let (mut old, mut new): (Vec<u64>, Vec<Grant>) = Default::default();
        for grant in grants {
            let same = |known: &&Subscription| {
                known.is(&grant.topic) || grant.also.as_ref().is_some_and(|also| known.is(also))
            };
            match self.subscriptions.iter().find(same) {
                Some(known) if old.contains(&known.id) => {}
                Some(known) => old.push(known.id),
                None if new.iter().any(|other| other.topic == grant.topic) => {}
                None => new.push(grant),
            }
        }
        (old, new)
    }

    async fn take_up(&mut self, old: Vec<u64>, new: Vec<Grant>, from: From) -> Result<(), End> {
        let mut told = Vec::new();
        let (mut behind, mut lost) = (Vec::new(), Vec::new());
        for id in old {
            let Some(known) = self.subscriptions.iter_mut().find(|known| known.id == id) else { continue };
            told.push(known.word.clone());
            match from {
                From::Now => {}
                From::Lost => lost.push(id),
                From::After(after) if known.covers(after) => known.has(after),
                From::After(after) => {
                    self.last_id += 1;
                    self.member.leave(&known.word);
                    known.rewind(self.last_id, after);
                    behind.push(self.last_id);
                }
            }
        }
        for grant in new {
            self.last_id += 1;
            let mut subscription = Subscription::new(self.last_id, grant, 0);
            told.push(subscription.word.clone());
            match from {
                From::Now => {
                    let seat = (subscription.word.clone(), subscription.id);
                    let (Joined::At(at) | Joined::Far(at)) = self.member.join(&[seat], None);
                    subscription.restart(subscription.id, at);
                }
                From::Lost => lost.push(subscription.id),
                From::After(after) => {
                    subscription.restart(subscription.id, after);
                    behind.push(subscription.id);
                }
            }
            self.subscriptions.push(subscription);
        }
        self.tell(Told::Subscribed { topics: told.iter().map(|word| &**word).collect() }).await?;
        for id in lost {
            self.reset(id).await?;
        }
        if let From::After(after) = from
            && !behind.is_empty()
        {
            self.replays.push_back(Replay { subscriptions: behind, cursor: after, joined: None });
        }
        Ok(())
    }
}

async fn from(gateway: &Gateway, after: Option<i64>, epoch: Option<&str>) -> Result<From, DbErr> {
    if epoch.is_some_and(|epoch| epoch != gateway.epoch) {
        return Ok(From::Lost);
    }
    let Some(after) = after else { return Ok(From::Now) };
    // The database's newest row: another replica may have shown the client more than this one has read.
    let (oldest, newest) = bounds(&gateway.db.read).await?;
    Ok(if after > newest || after < oldest - 1 { From::Lost } else { From::After(after) })
}
