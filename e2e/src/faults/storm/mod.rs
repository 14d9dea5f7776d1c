//! Storms: what happens to many requests, to watches, to the API server or to a leader, for a while. During a storm the operator lives
//! on and asks for no more than it should; what is a person's business is told. After it all is as it would have been without it.

pub mod all;
pub mod beside;
pub mod election;
pub mod namespace;
pub mod overtaken;
pub mod past;
pub mod play;
pub mod replica;
pub mod report;
pub mod scene;
pub mod server;
pub mod sky;
pub mod stage;
pub mod told;
