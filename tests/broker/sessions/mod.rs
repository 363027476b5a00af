//! What a session gets, keeps and gives back: subscriptions, messages of each QoS, retained ones, wills.

pub mod publish;
mod qos2;
mod qos2_model;
mod retained;
mod session;
mod subscribe;
mod will;
