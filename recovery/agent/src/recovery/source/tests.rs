//! Sources over real sockets that are slow, silent, cut off, lie, or lack a chunk.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use images::frames::{Opener, Packer, RESPONSE_MAGIC, decode_request, encode_absent, encode_prefix};

use super::*;

/// Small enough that a test does not wait.
const LIMITS: Limits = Limits {
    slow_bytes: 64 << 10,
    slow_after: Duration::from_millis(200),
    rest: (Duration::from_millis(5), Duration::from_millis(20)),
    outage: Duration::from_millis(400),
    ..Limits::USUAL
};

/// Chunks that differ, of some tens of KiB.
fn frames(count: u8) -> Vec<Frame> {
    let plain = |number: u8| {
        (0..40_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number).collect()
    };
    let pack = |plain: Vec<u8>| Packer::new().unwrap().pack(ChunkId::of(&plain), &plain).unwrap();
    (0..count).map(|number| pack(plain(number))).collect()
}

fn ids(frames: &[Frame]) -> Vec<ChunkId> {
    frames.iter().map(|frame| frame.id).collect()
}

/// What one source was asked, request by request, and over how many connections.
#[derive(Default)]
struct Asked {
    requests: Mutex<Vec<Vec<ChunkId>>>,
    connections: AtomicUsize,
}

impl Asked {
    fn requests(&self) -> Vec<Vec<ChunkId>> {
        self.requests.lock().unwrap().clone()
    }
}

/// A source that reads requests and lets `answer` write what it likes; an error ends the connection.
fn source(
    answer: impl Fn(&[ChunkId], &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> (String, Arc<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, asked) =
        (format!("http://{}/v1/frames", listener.local_addr().unwrap()), Arc::new(Asked::default()));
    let (answer, heard) = (Arc::new(answer), asked.clone());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            heard.connections.fetch_add(1, Ordering::Relaxed);
            let (answer, heard) = (answer.clone(), heard.clone());
            std::thread::spawn(move || -> io::Result<()> {
                let mut input = BufReader::new(socket.try_clone()?);
                loop {
                    let (mut line, mut len) = (String::new(), 0);
                    while line != "\r\n" {
                        line.clear();
                        if input.read_line(&mut line)? == 0 {
                            return Ok(());
                        }
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                            len = value.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; len];
                    input.read_exact(&mut body)?;
                    let wanted = decode_request(&body).unwrap();
                    heard.requests.lock().unwrap().push(wanted.clone());
                    answer(&wanted, &mut socket)?;
                }
            });
        }
    });
    (url, asked)
}

/// The body that has of these frames what is asked for.
fn body(frames: &[Frame], asked: &[ChunkId]) -> Vec<u8> {
    let mut out = RESPONSE_MAGIC.to_vec();
    for id in asked {
        match frames.iter().find(|frame| frame.id == *id) {
            Some(frame) => out.extend([&encode_prefix(frame)[..], &frame.bytes].concat()),
            None => out.extend(encode_absent(*id)),
        }
    }
    out
}

fn head(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn piece(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// One that answers as it should, with what it has.
fn good(frames: &[Frame]) -> (String, Arc<Asked>) {
    let frames = frames.to_vec();
    source(move |asked, socket| {
        head(socket)?;
        piece(socket, &body(&frames, asked))?;
        socket.write_all(b"0\r\n\r\n")
    })
}

/// Fetches all of `wanted`, verified; the facts of each source with it.
fn fetch(urls: &[&str], wanted: &[Frame]) -> (Result<(), SourceError>, Vec<SourceFacts>) {
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    let http = HttpSource::new(&urls, LIMITS, || false);
    let (mut opener, mut got) = (Opener::new().unwrap(), Vec::new());
    let outcome = http.fetch(&ids(wanted), &mut |frame| {
        opener.open(&frame)?;
        got.push(frame.id);
        Ok(())
    });
    if outcome.is_ok() {
        got.sort();
        let mut all = ids(wanted);
        all.sort();
        assert_eq!(got, all, "each once");
    }
    (outcome, http.facts())
}

#[test]
fn a_source_that_trickles_is_left_for_the_next() {
    let frames = frames(8);
    let drops = frames.clone();
    let (trickle, _) = source(move |asked, socket| {
        head(socket)?;
        body(&drops, asked).iter().try_for_each(|byte| {
            // A slow wire, not somebody who waits.
            std::thread::park_timeout(Duration::from_millis(5));
            piece(socket, &[*byte])
        })
    });
    let (whole, _) = good(&frames);
    let (outcome, facts) = fetch(&[&trickle, &whole], &frames);
    outcome.unwrap();
    assert_eq!((facts[0].chunks, facts[1].chunks), (0, 8));
    assert_eq!(facts[0].left, None, "slow is no lie");
}

#[test]
fn a_source_that_is_cut_off_need_not_give_twice_what_came() {
    let frames = frames(8);
    let half = frames.clone();
    let (cut, _) = source(move |asked, socket| {
        head(socket)?;
        piece(socket, &body(&half, &asked[..5]))?;
        socket.shutdown(std::net::Shutdown::Both)
    });
    let (whole, asked) = good(&frames);
    let (outcome, facts) = fetch(&[&cut, &whole], &frames);
    outcome.unwrap();
    assert_eq!((facts[0].chunks, facts[1].chunks), (5, 3));
    assert_eq!(asked.requests(), [ids(&frames[5..])]);
}

#[test]
fn a_chunk_that_one_lacks_is_asked_of_the_next_and_no_other_is() {
    let frames = frames(6);
    let (most, first) = good(&[&frames[..2], &frames[4..]].concat());
    let (whole, second) = good(&frames);
    fetch(&[&most, &whole], &frames).0.unwrap();
    assert_eq!(first.requests(), [ids(&frames)]);
    assert_eq!(second.requests(), [ids(&frames[2..4])]);
    // When nobody has it, each is named.
    let (outcome, _) = fetch(&[&most, &most], &frames);
    let error = chain(&outcome.unwrap_err());
    assert!(error.matches("does not have chunk").count() == 2 && error.contains("scrubbed"), "{error}");
}

#[test]
fn a_source_that_sends_junk_is_never_asked_again_and_named() {
    let frames = frames(3);
    let lies = frames.clone();
    let (liar, asked) = source(move |wanted, socket| {
        let mut bytes = body(&lies, wanted);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        head(socket)?;
        piece(socket, &bytes)
    });
    let (whole, _) = good(&frames);
    let urls = [liar, whole];
    let http = HttpSource::new(&urls, LIMITS, || false);
    let mut opener = Opener::new().unwrap();
    for _ in 0..3 {
        http.fetch(&ids(&frames), &mut |frame| opener.open(&frame).map(drop)).unwrap();
    }
    assert_eq!(asked.requests().len(), 1);
    let facts = http.facts();
    assert_eq!((facts[0].chunks, facts[1].chunks), (2, 1 + 3 + 3));
    assert!(facts[0].left.as_deref().is_some_and(|why| why.contains("altered") || why.contains("decode")));
}

#[test]
fn a_source_that_never_answers_or_is_something_else_is_left_for_the_next() {
    let frames = frames(2);
    let (silent, _) = source(|_, _| {
        std::thread::park();
        Ok(())
    });
    let (page, _) =
        source(|_, socket| socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>"));
    let (busy, _) = source(|_, socket| socket.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"));
    let (whole, _) = good(&frames);
    let (outcome, facts) = fetch(&[&silent, &page, &busy, &whole], &frames);
    outcome.unwrap();
    assert_eq!(facts[3].chunks, 2);
    // Alone they are waited for, then given up by name.
    let (outcome, _) = fetch(&[&busy], &frames);
    assert!(matches!(outcome, Err(SourceError::Unreachable { from, .. }) if from == busy));
}

#[test]
fn one_connection_carries_many_requests() {
    let frames = frames(4);
    let (url, asked) = good(&frames);
    let http = HttpSource::new(&[url], LIMITS, || false);
    for frame in &frames {
        http.fetch(&[frame.id], &mut |_| Ok(())).unwrap();
    }
    assert_eq!((asked.requests().len(), asked.connections.load(Ordering::Relaxed)), (4, 1));
}

#[test]
fn a_restore_that_is_stopped_waits_for_nobody() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let limits = Limits { outage: Duration::from_secs(3600), ..LIMITS };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let http =
        HttpSource::new(&[format!("http://{nobody}/v1/frames")], limits, || stop.load(Ordering::Relaxed));
    let frames = frames(1);
    let outcome = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| http.fetch(&ids(&frames), &mut |_| Ok(())));
        stop.store(true, Ordering::Relaxed);
        fetching.join().unwrap()
    });
    assert!(matches!(outcome, Err(SourceError::Unreachable { .. })));
}

/// One of another version: its answer begins as ours would in that version.
fn newer(status: &'static str) -> (String, Arc<Asked>) {
    source(move |_, socket| {
        let body = b"GSFR\x02\0\0\0no";
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all(&[head.as_bytes(), body].concat())
    })
}

#[test]
fn a_source_of_another_version_is_asked_once_and_when_it_is_alone_it_is_said_at_once() {
    let frames = frames(3);
    for status in ["200 OK", "400 No"] {
        let ((other, asked), (whole, _)) = (newer(status), good(&frames));
        let urls = [other.clone(), whole];
        let http = HttpSource::new(&urls, LIMITS, || false);
        http.check_version().unwrap();
        let mut opener = Opener::new().unwrap();
        http.fetch(&ids(&frames), &mut |frame| opener.open(&frame).map(drop)).unwrap();
        assert_eq!(asked.requests().len(), 1, "asked for nothing, and then for nothing more");
        assert!(http.facts()[0].left.as_deref().is_some_and(|why| why.contains("version 2 of frames")));

        // As long as one waits for the cable to be plugged in again, nobody would read this.
        let limits = Limits { outage: Duration::from_secs(3600), ..LIMITS };
        let alone = HttpSource::new(&urls[..1], limits, || false);
        for outcome in [alone.fetch(&ids(&frames), &mut |_| Ok(())), alone.check_version()] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, SourceError::OtherVersion { .. }), "{error}");
            let words = chain(&error);
            assert!(words.contains(&other) && words.contains("version 2 of frames, this one 1"), "{words}");
        }
    }
    // One that is silent may be of our version.
    let (busy, _) = source(|_, socket| socket.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"));
    HttpSource::new(&[newer("200 OK").0, busy], LIMITS, || false).check_version().unwrap();
}
