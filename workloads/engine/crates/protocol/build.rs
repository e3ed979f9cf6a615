//! Makes `openbourse.v1` from the contracts' own files; protox compiles them, so no protoc is needed.

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    // Asked at run time: a build directory may serve a checkout that has moved.
    let contracts = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../../contracts");
    let messages = contracts.join("openbourse/contracts/v1");
    println!("cargo::rerun-if-changed={}", messages.display());
    let session = messages.join("session.proto");
    let descriptors = protox::compile([session], [contracts])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
