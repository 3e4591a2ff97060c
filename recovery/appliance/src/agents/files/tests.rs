//! Manifests in parts, frames as asked, and peers that never read: over real connections.

use std::{net::SocketAddr, sync::atomic::AtomicU64, time::Duration};

use images::{ChunkId, ImageId};
use pxe::http::{Peer, converse};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::*;
use crate::testing::signed_image;

const LIMIT: Duration = Duration::from_secs(60);

/// Hears what is refused, and keeps it to itself.
struct Ear;

impl BootEvents for Ear {
    fn event(&self, _: BootEvent) {}
}

struct Shop {
    _data: tempfile::TempDir,
    handler: Handler,
    golden: Golden,
    image: ImageId,
    sent: Arc<AtomicU64>,
}

impl Shop {
    fn new(serving: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (store, root) = (data.path().join("store"), data.path().join("root.json"));
        let mut disk = vec![0; 8 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut disk[2 << 20..6 << 20]);
        signed_image(&disk, "hmi-panel", data.path(), &store, &root);
        let golden = Golden::open(&store, &root).unwrap();
        let image = golden.store.list().unwrap()[0];
        let sent = Arc::new(AtomicU64::new(0));
        let files = Files::new(
            golden.clone(),
            Governor::new(&toml::from_str(serving).unwrap()),
            Arc::clone(&sent),
            Arc::new(Ear),
        );
        let admits = Arc::new(|job| job == JobId::new(1, [7; 10]));
        let medium = Medium { bytes: Bytes::from_static(b"a CD of ours"), sha256: "ab".repeat(32), admits };
        let files = files.with_medium(Some(medium));
        Self { _data: data, handler: files.handler(), golden, image, sent }
    }

    /// A connection that is said to be from this address; little fits between the two ends.
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener: TcpListener = socket.listen(1).unwrap();
        let near = TcpSocket::new_v4().unwrap();
        near.set_recv_buffer_size(4096).unwrap();
        let (near, far) = tokio::join!(near.connect(listener.local_addr().unwrap()), listener.accept());
        let local = SocketAddr::from(([10, 7, 0, 1], 80));
        let peer = Peer { remote: SocketAddr::new(from.parse().unwrap(), 5000), local };
        tokio::spawn(converse(far.unwrap().0, peer, Arc::clone(&self.handler)));
        near.unwrap()
    }

    /// One request, and all of the answer: head and body as they came.
    async fn ask(&self, head: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = self.connect("10.7.0.9").await;
        let request =
            format!("{head}\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end..].to_vec())
    }

    fn chunks(&self) -> Vec<ChunkId> {
        let manifest = self.golden.store.get_manifest(&self.image).unwrap().parse().unwrap();
        let mut ids: Vec<ChunkId> = manifest.chunk_ids().collect();
        ids.dedup();
        ids
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A chunked body (RFC 9112 section 7.1) put together.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let len = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return out;
        }
        out.extend_from_slice(&body[end + 2..end + 2 + len]);
        body = &body[end + 4 + len..];
    }
}

#[tokio::test]
async fn a_manifest_comes_in_parts_and_not_again_when_it_is_known() {
    let shop = Shop::new("");
    let whole = shop.golden.manifest(shop.image).await.unwrap();
    let line = |method: &str| format!("{method} /v1/manifests/{} HTTP/1.1", shop.image);
    let (head, body) = shop.ask(&line("GET"), b"").await;
    assert!(head.starts_with("http/1.1 200") && body == whole, "{head}");
    let etag = header(&head, "etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && header(&head, "accept-ranges") == Some("bytes"));

    let (head, body) = shop.ask(&line("HEAD"), b"").await;
    let len = whole.len().to_string();
    assert!(body.is_empty() && header(&head, "content-length") == Some(&len));
    let (head, body) = shop.ask(&format!("{}\r\nif-none-match: {etag}", line("GET")), b"").await;
    assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
    let (head, body) =
        shop.ask(&format!("{}\r\nrange: bytes=10-19\r\nif-range: {etag}", line("GET")), b"").await;
    assert!(head.starts_with("http/1.1 206") && body == whole[10..20], "{head}");
    assert_eq!(header(&head, "content-range"), Some(format!("bytes 10-19/{len}").as_str()));
    let (head, body) =
        shop.ask(&format!("{}\r\nrange: bytes=10-19\r\nif-range: \"old\"", line("GET")), b"").await;
    assert!(head.starts_with("http/1.1 200") && body == whole, "{head}");
    let (head, _) = shop.ask(&format!("{}\r\nrange: bytes=99999999-", line("GET")), b"").await;
    assert!(head.starts_with("http/1.1 416"), "{head}");
    let (head, _) = shop.ask("GET /v1/manifests/../../etc/passwd HTTP/1.1", b"").await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
}

#[tokio::test]
async fn frames_come_in_the_order_asked_and_absent_ones_are_said() {
    let shop = Shop::new("total_mib_per_s = 1000");
    let mut asked = shop.chunks();
    asked.reverse();
    asked.insert(1, ChunkId::of(b"not there"));
    let (head, body) = shop.ask("POST /v1/frames HTTP/1.1", &frames::encode_request(&asked)).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let body = dechunked(&body);
    assert_eq!(shop.sent.load(Ordering::Relaxed), body.len() as u64);
    let mut got = Vec::new();
    let read = frames::read_response(&body[..], &asked, |frame| {
        got.push(frame);
        Ok::<_, images::FrameError>(())
    });
    assert!(matches!(read, Err(images::FrameError::Absent { id }) if id == asked[1]));
    assert_eq!(got[0].id, asked[0]);
    asked.remove(1);
    let (_, body) = shop.ask("POST /v1/frames HTTP/1.1", &frames::encode_request(&asked)).await;
    let mut opener = frames::Opener::new().unwrap();
    frames::read_response(&dechunked(&body)[..], &asked, |frame| opener.open(&frame).map(drop)).unwrap();
    let (head, _) = shop.ask("POST /v1/frames HTTP/1.1", b"junk").await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
}

#[tokio::test]
async fn an_agent_of_another_version_is_told_ours() {
    let shop = Shop::new("");
    // One of ours asks for nothing at first, to hear that.
    let (head, body) = shop.ask("POST /v1/frames HTTP/1.1", &frames::encode_request(&[])).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(dechunked(&body), frames::RESPONSE_MAGIC);
    let mut request = frames::encode_request(&shop.chunks());
    request[4] = 2;
    let (head, body) = shop.ask("POST /v1/frames HTTP/1.1", &request).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(body.starts_with(frames::RESPONSE_MAGIC), "{body:?}");
    let words = String::from_utf8_lossy(&body);
    assert!(words.contains("version 2 of frames, this one 1"), "{words}");
}

#[tokio::test]
async fn a_chunk_that_rotted_in_its_pack_is_said_at_once_and_the_others_are_sent() {
    let shop = Shop::new("");
    let ids = shop.chunks();
    let pack =
        std::fs::read_dir(shop.golden.store.root().join("packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    // Behind the pack's own head: the first frame.
    bytes[12] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let (_, body) = shop.ask("POST /v1/frames HTTP/1.1", &frames::encode_request(&ids)).await;
    let read = frames::read_response(&dechunked(&body)[..], &ids, |_| Ok::<_, images::FrameError>(()));
    assert!(matches!(read, Err(images::FrameError::Absent { id }) if id == ids[0]), "{read:?}");
    let (_, body) = shop.ask("POST /v1/frames HTTP/1.1", &frames::encode_request(&ids[1..])).await;
    frames::read_response(&dechunked(&body)[..], &ids[1..], |_| Ok::<_, images::FrameError>(())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_never_read_cost_nobody_else() {
    let shop = Shop::new("total_mib_per_s = 1000");
    let ids = shop.chunks();
    let request = frames::encode_request(&ids);
    let mut dead = Vec::new();
    // Many more than there are readers.
    for n in 0..8 * READERS {
        let mut stream = shop.connect(&format!("10.7.1.{}", n % 250)).await;
        let head =
            format!("POST /v1/frames HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", request.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        // It has begun to answer, and nobody takes it.
        stream.read_exact(&mut [0; 12]).await.unwrap();
        dead.push(stream);
    }
    let (head, body) = shop.ask("POST /v1/frames HTTP/1.1", &request).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    frames::read_response(&dechunked(&body)[..], &ids, |_| Ok::<_, images::FrameError>(())).unwrap();
    drop(dead);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cd_is_served_whole_and_in_parts_to_whoever_names_a_job_with_a_boot_ticket() {
    let shop = Shop::new("");
    let path = |job: JobId| format!("/media/groundstate-{job}.iso HTTP/1.1");
    let ours = path(JobId::new(1, [7; 10]));
    let (head, body) = shop.ask(&format!("GET {ours}"), b"").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("accept-ranges: bytes"), "{head}");
    assert_eq!(body, b"a CD of ours");
    let (head, body) = shop.ask(&format!("HEAD {ours}"), b"").await;
    assert!(head.contains("content-length: 12") && body.is_empty(), "{head}");
    let (head, body) = shop.ask(&format!("GET {ours}\r\nrange: bytes=2-3"), b"").await;
    assert!(head.starts_with("http/1.1 206") && body == b"CD", "{head}");
    for none in [
        path(JobId::new(1, [8; 10])),
        "/media/groundstate-.iso HTTP/1.1".to_owned(),
        "/media/recovery.iso HTTP/1.1".to_owned(),
    ] {
        let (head, _) = shop.ask(&format!("GET {none}"), b"").await;
        assert!(head.starts_with("http/1.1 404"), "{none}: {head}");
    }
}
