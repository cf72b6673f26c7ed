//! Makes Rust of the gRPC API. The compiler for it is a library, so that nothing has to be installed.

use std::env;
use std::path::PathBuf;

use protox::prost::Message;

const FILES: [&str; 3] = ["types", "collaboration", "history"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../../proto");
    let files = FILES.map(|name| root.join(format!("collabedit/v1/{name}.proto")));
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    // For reflection.
    #[allow(clippy::disallowed_methods)] // Cargo tells build scripts in the environment.
    let described = PathBuf::from(env::var("OUT_DIR")?).join("collabedit.v1.bin");
    std::fs::write(described, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Updates are passed on without being copied.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
