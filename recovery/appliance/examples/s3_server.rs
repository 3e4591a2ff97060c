//! An S3 object store for benches: `s3_server DIR FILE` serves the directories of DIR as buckets (`s3s-fs`) on a free port of 127.0.0.1,
//! writes its address into FILE, and says `ready`. With `open` behind FILE it takes requests that nobody signed.

#[path = "../tests/store/s3.rs"]
mod s3;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let (dir, file) = (words.next().context("no directory")?, words.next().context("no file")?);
    let files =
        FileSystem::new(&dir).map_err(|error| anyhow::anyhow!("{error:?}")).context("the directory")?;
    let mut builder = S3ServiceBuilder::new(files);
    if words.next().is_none_or(|word| word.as_os_str() != "open") {
        builder.set_auth(SimpleAuth::from_single(s3::KEY, s3::SECRET));
    }
    let service = builder.build();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        std::fs::write(file, listener.local_addr()?.to_string())?;
        println!("ready");
        loop {
            let (stream, _) = listener.accept().await?;
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service.clone());
            tokio::spawn(served);
        }
    })
}
