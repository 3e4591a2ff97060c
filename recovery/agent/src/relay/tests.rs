//! A relay between real sockets: endpoints in front of it, an appliance's frames behind it.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;

use images::Frame;
use images::frames::{Packer, decode_request, encode_absent, encode_prefix};
use images::restore::SourceError;
use recovery_protocol::agent::SourceFacts;

use super::*;
use crate::testing::serve_plain;

fn chunks(count: u8) -> Vec<Frame> {
    let plain = |number: u8| {
        (0..30_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number).collect()
    };
    let pack = |plain: Vec<u8>| Packer::new().unwrap().pack(ChunkId::of(&plain), &plain).unwrap();
    (0..count).map(|number| pack(plain(number))).collect()
}

fn ids(frames: &[Frame]) -> Vec<ChunkId> {
    frames.iter().map(|frame| frame.id).collect()
}

/// An appliance that has these frames; what it was asked, chunk by chunk.
fn upstream(frames: &[Frame]) -> (String, Arc<Mutex<Vec<ChunkId>>>) {
    let (frames, asked) = (frames.to_vec(), Arc::new(Mutex::new(Vec::new())));
    let heard = asked.clone();
    let address = serve_plain(move |request| {
        if request.path.starts_with("/v1/manifests/") {
            return (200, b"a manifest".to_vec());
        }
        let mut out = RESPONSE_MAGIC.to_vec();
        for id in decode_request(&request.body).unwrap() {
            heard.lock().unwrap().push(id);
            match frames.iter().find(|frame| frame.id == id) {
                Some(frame) => out.extend([&encode_prefix(frame)[..], &frame.bytes].concat()),
                None => out.extend(encode_absent(id)),
            }
        }
        (200, out)
    });
    (format!("http://{address}"), asked)
}

fn relay(upstream: &[&str]) -> (SocketAddr, Arc<Shared>) {
    relay_with(upstream, 8)
}

fn relay_with(upstream: &[&str], memory_mib: usize) -> (SocketAddr, Arc<Shared>) {
    let upstream = upstream.iter().map(|url| (*url).to_owned()).collect();
    let setup = Setup { upstream, listen: ([127, 0, 0, 1], 0).into(), memory_mib };
    let relay = Relay::bind(&setup).unwrap();
    let (address, shared) = (relay.address().unwrap(), relay.shared.clone());
    std::thread::spawn(move || relay.serve());
    (address, shared)
}

/// An endpoint's fetch from these, verified; what each gave.
fn fetch(urls: &[String], wanted: &[Frame]) -> (Result<(), SourceError>, Vec<SourceFacts>) {
    let urls: Vec<String> = urls.iter().map(|base| format!("{base}/v1/frames")).collect();
    let source = HttpSource::new(&urls, Limits::USUAL, || false);
    let mut opener = Opener::new().unwrap();
    let outcome = source.fetch(&ids(wanted), &mut |frame| opener.open(&frame).map(drop));
    (outcome, source.facts())
}

#[test]
fn four_endpoints_cost_the_appliance_one() {
    let frames = chunks(70);
    let (appliance, asked) = upstream(&frames);
    let (at, shared) = relay(&[&appliance]);
    let url = [format!("http://{at}")];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fetch(&url, &frames).0.unwrap());
        }
    });
    let mut once = asked.lock().unwrap().clone();
    once.sort();
    let mut all = ids(&frames);
    all.sort();
    assert_eq!(once, all, "each chunk once");
    let stored: u64 = frames.iter().map(|frame| frame.bytes.len() as u64).sum();
    assert_eq!(shared.fetched.load(Ordering::Relaxed), stored);
}

#[test]
fn a_relay_without_room_still_gives_what_it_fetched() {
    let frames = chunks(40);
    let (appliance, _) = upstream(&frames);
    let (at, _) = relay_with(&[&appliance], 0);
    fetch(&[format!("http://{at}")], &frames).0.unwrap();
}

#[test]
fn a_relay_passes_on_no_lie_and_the_endpoint_gets_what_it_lacks_elsewhere() {
    let frames = chunks(5);
    let mut spoiled = frames.clone();
    spoiled[2].bytes[100] ^= 1;
    let ((liar, _), (appliance, asked)) = (upstream(&spoiled), upstream(&frames));
    let (at, _) = relay(&[&liar]);
    let (outcome, facts) = fetch(&[format!("http://{at}"), appliance], &frames);
    outcome.unwrap();
    assert_eq!((facts[0].chunks + facts[1].chunks, &facts[0].left), (5, &None), "it did not lie");
    assert!(asked.lock().unwrap().contains(&frames[2].id));
}

#[test]
fn a_relay_whose_appliance_is_gone_says_so_soon_enough() {
    let frames = chunks(3);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (appliance, _) = upstream(&frames);
    let (at, _) = relay(&[&format!("http://{nobody}")]);
    let (outcome, facts) = fetch(&[format!("http://{at}"), appliance], &frames);
    outcome.unwrap();
    assert_eq!((facts[0].chunks, facts[1].chunks), (0, 3));
}

#[test]
fn manifests_pass_and_anything_else_is_refused() {
    let (appliance, _) = upstream(&[]);
    let (at, _) = relay(&[&appliance]);
    let say = |text: String| {
        let mut socket = TcpStream::connect(at).unwrap();
        socket.write_all(text.as_bytes()).unwrap();
        // What refuses early may have closed by now.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    };
    let image = "a7".repeat(32);
    let answer = say(format!("GET /v1/manifests/{image} HTTP/1.1\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("a manifest"), "{answer}");
    for path in ["/", "/v1/manifests/../../etc/passwd", "/v1/frames"] {
        assert!(say(format!("GET {path} HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 404"), "{path}");
    }
    let short = "POST /v1/frames HTTP/1.1\r\ncontent-length: 4\r\n\r\njunk";
    assert!(say(short.to_owned()).starts_with("HTTP/1.1 400"));
    for no_answer in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "POST /v1/frames HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n".to_owned(),
        "POST /v1/frames HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(20_000)),
    ] {
        assert_eq!(say(no_answer), "");
    }
}

#[test]
fn an_endpoint_of_another_version_is_told_ours() {
    let (at, _) = relay(&["http://127.0.0.1:1"]);
    let mut socket = TcpStream::connect(at).unwrap();
    let head = "POST /v1/frames HTTP/1.1\r\ncontent-length: 12\r\n\r\n";
    socket.write_all(&[head.as_bytes(), b"GSFQ\x02\0\0\0\0\0\0\0"].concat()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(answer.starts_with("HTTP/1.1 400") && body.starts_with("GSFR\x01"), "{answer}");
}

#[test]
fn a_command_line_is_understood_or_explained() {
    let setup = Setup::parse(&["--upstream", "http://10.7.0.1", "--listen", "10.7.3.20:9000"]).unwrap();
    assert_eq!((setup.upstream, setup.memory_mib), (vec!["http://10.7.0.1".to_owned()], 256));
    for (words, said) in [
        (&[][..], "--upstream http"),
        (&["--upstream"], "needs a value"),
        (&["--upstream", "10.7.0.1"], "http://10.7.0.1"),
        (&["--upstream", "http://10.7.0.1/v1"], "http://10.7.0.1"),
        (&["--upstream", "http://a", "--listen", "everywhere"], "0.0.0.0:8480"),
        (&["--upstream", "http://a", "--memory-mib", "1"], "8 to 65536"),
        (&["--cache", "x"], "--memory-mib"),
    ] {
        let error = format!("{:#}", Setup::parse(words).unwrap_err());
        assert!(error.contains(said), "{words:?}: {error}");
    }
}
