//! How many channels are open: on the node, and by each user over all connections.

use std::sync::Arc;

use dashmap::DashMap;

use super::broker::Broker;
use crate::auth::User;
use crate::frames::Refusal;
use crate::stats::Churn;

/// Open channels by user.
#[derive(Default)]
pub struct ChannelCounts(DashMap<Arc<str>, u64>);

impl ChannelCounts {
    /// Channels of all users.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| *count).sum()
    }

    fn of(&self, user: &str) -> u64 {
        self.0.get(user).map_or(0, |count| *count)
    }

    fn add(&self, user: &str) {
        *self.0.entry(user.into()).or_insert(0) += 1;
    }

    fn remove(&self, user: &str) {
        self.0.remove_if_mut(user, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

impl Broker {
    /// Counts a channel that a user opens. Two that are opened in the same moment may both count as the last.
    ///
    /// # Errors
    /// 530 when the user or the node has as many as allowed, in RabbitMQ's words.
    pub fn channel_opened(&self, user: &User) -> Result<(), Refusal> {
        let reached = |most: &dyn std::fmt::Display, whose: &str| {
            Err(Refusal::not_allowed(format!("number of channels opened {whose} limit of ({most})")))
        };
        // Limits may have been set since the user logged in.
        let user = self.directory.user(&user.name).unwrap_or_else(|| Arc::new(user.clone()));
        if let Some(most) = user.max_channels.and_then(|most| u64::try_from(most).ok())
            && self.channels.of(&user.name) >= most
        {
            return reached(&most, &format!("for user '{}' has reached the maximum allowed user", user.name));
        }
        if let Some(most) = self.limits().channel_max_per_node
            && self.channels.total() >= most
        {
            return reached(&most, &format!("on node '{}' has reached the maximum allowed", self.node_name()));
        }
        self.channels.add(&user.name);
        self.churn.note(Churn::ChannelCreated);
        Ok(())
    }

    /// A channel is closed.
    pub fn channel_closed(&self, user: &User) {
        self.channels.remove(&user.name);
        self.churn.note(Churn::ChannelClosed);
    }
}
