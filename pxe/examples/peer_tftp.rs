//! The TFTP server of the crate async-tftp over one directory: what `cargo measure pxe` compares windows with.
//!
//! ```text
//! peer_tftp ADDR:PORT DIR
//! ```

use std::net::SocketAddr;

use anyhow::bail;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, dir] = &args[..] else { bail!("usage: peer_tftp ADDR:PORT DIR") };
    let address: SocketAddr = address.parse()?;
    let server = async_tftp::server::TftpServerBuilder::with_dir_ro(dir)?.bind(address).build().await?;
    println!("serving on {address}");
    Ok(server.serve().await?)
}
