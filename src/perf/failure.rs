//! Why a run cannot go on, in words for its user.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot connect to {address}: {cause}")]
    Connect { address: String, cause: io::Error },
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the broker cut the connection{0}")]
    Cut(&'static str),
    #[error("the broker did not answer in time")]
    Silent,
    #[error("the broker closed the connection: {code} {text}")]
    ConnectionClosed { code: u16, text: String },
    #[error("the broker closed channel {channel}: {code} {text}")]
    ChannelClosed { channel: u16, code: u16, text: String },
    #[error("the broker cancelled consumer {0}")]
    Cancelled(String),
    #[error("the broker sent something that is not expected here: {0}")]
    Protocol(String),
    #[error("{0}")]
    Options(String),
}
