//! A disk in memory for SQLite that loses power. What a program wrote and did not sync is gone after a power failure, or half
//! of it is; the disk can be full; a folder can be put back from an image of it. The program under test opens its files by
//! their paths as always and knows nothing of it.
//!
//! [`install`] makes it SQLite's default file system. Files in a [`Folder`] are in memory; all others go where they went
//! before. Each file of a folder has an empty one of its name on the real disk, so that a program may remove files and ask
//! which one it has, without SQLite.

mod file;
mod folder;
mod vfs;

pub use folder::{Folder, Image, Lost};
pub use vfs::install;
