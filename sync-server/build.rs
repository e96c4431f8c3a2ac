//! Rebuilds the crate when a migration is added: `sqlx::migrate!` embeds the folder, which cargo cannot see by itself.

fn main() {
    println!("cargo:rerun-if-changed=../migrations/postgres");
}
