pub mod frames;
pub mod queue;
