//! The TFTP servers of others over one directory: what `cargo measure pxe` compares windows with.
//!
//! ```text
//! peer_tftp async-tftp|rs-tftpd ADDR:PORT DIR
//! ```

use std::net::SocketAddr;

use anyhow::{Context, bail};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address, dir] = &args[..] else { bail!("usage: peer_tftp async-tftp|rs-tftpd ADDR:PORT DIR") };
    let address: SocketAddr = address.parse()?;
    match kind.as_str() {
        "async-tftp" => {
            let server =
                async_tftp::server::TftpServerBuilder::with_dir_ro(dir)?.bind(address).build().await?;
            println!("serving on {address}");
            Ok(server.serve().await?)
        }
        "rs-tftpd" => {
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            let words = ["tftpd", "-i", &ip, "-p", &port, "-d", dir, "-r", "-q"];
            let config = tftpd::Config::new(words.iter().map(|word| (*word).to_owned()));
            let config = config.ok().context("rs-tftpd does not know its own words")?;
            let mut server = tftpd::Server::new(&config).ok().context("rs-tftpd does not start")?;
            println!("serving on {address}");
            server.listen();
            Ok(())
        }
        other => bail!("there is no peer {other}"),
    }
}
