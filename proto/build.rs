//! Compiles the protocol with protox, so that no protoc need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=sync");
    let files = protox::compile(["sync/v1/sync.proto"], ["."])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
