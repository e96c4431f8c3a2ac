//! The matrix: every role at every HTTP route and every frame, over every collection, whatever the owner has said about it.
//!
//! What must come out is what the judge says, so this proves that each path asks it; what the judge says is proved in
//! `core/src/policy/tests.rs`. A route or a kind of frame that no row speaks of fails the build.

mod cast;
mod frames;
mod routes;
