//! The integration tests of the client: one binary, a module a subject.

mod fit;
