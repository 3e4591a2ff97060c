//! Real clients of others against our boot layer, each test in a network namespace of its own.
//!
//! ```text
//!   user + network namespace (unshare -rn)          second network namespace
//!   Server ── boot0 10.77.0.1 (and 10.77.0.2) ══ veth ══ eth0 10.77.0.9 ── atftp, tftp, curl, a bare DHCP client
//! ```
//!
//! A test runs itself again inside `unshare`, so that it needs no root and cannot disturb the machine's network.
//! Needs the Debian packages util-linux, iproute2, dnsmasq-base, atftp, tftp-hpa, udhcpc and curl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pxe::config::FullDhcp;
use pxe::dhcp::loader::Loaders;
use pxe::dhcp::overhear::Prober;
use pxe::event::BootEvents;
use pxe::script::{KernelArgs, RecoverySystem, install};
use pxe::{
    Artefact, Artefacts, BootDecision, BootEvent, BootRequest, Chain, Config, DhcpMode, Interface, Mac,
    Server,
};
use tokio_util::sync::CancellationToken;

const INSIDE: &str = "PXE_TEST_INSIDE";
const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

// --- the stories ---

#[test]
fn atftp_fetches_with_every_block_and_window_size() -> Result<()> {
    story("atftp_fetches_with_every_block_and_window_size", |plant| {
        for (block, window) in [("512", None), ("1024", None), ("1468", Some("4")), ("1468", Some("16"))] {
            let mut args =
                vec!["--option".to_owned(), format!("blksize {block}"), "--option".into(), "tsize".into()];
            if let Some(window) = window {
                args.extend(["--option".into(), format!("windowsize {window}")]);
            }
            args.extend(["-g", "-r", "snponly.efi", "-l", "got", "10.77.0.1"].map(String::from));
            plant.endpoint("atftp", args)?;
            ensure!(plant.fetched("got")? == program(), "blksize {block}, windowsize {window:?}");
        }
        Ok(())
    })
}

#[test]
fn tftp_hpa_fetches_whatever_the_spelling_and_is_refused_text_mode() -> Result<()> {
    story("tftp_hpa_fetches_whatever_the_spelling_and_is_refused_text_mode", |plant| {
        for name in ["snponly.efi", "/snponly.efi", "//SNPONLY.efi", "\\snponly.efi"] {
            plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "get", name, "got"])?;
            ensure!(plant.fetched("got")? == program(), "{name}");
        }
        let text =
            plant.endpoint("tftp", ["-m", "ascii", "10.77.0.1", "-c", "get", "snponly.efi", "text"])?;
        ensure!(String::from_utf8_lossy(&text.stdout).contains("only mode octet"), "{text:?}");
        let missing =
            plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "get", "../../etc/passwd", "no"])?;
        ensure!(String::from_utf8_lossy(&missing.stdout).contains("no such file"), "{missing:?}");
        std::fs::write(plant.dir.path().join("mine"), b"x")?;
        let upload =
            plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "put", "mine", "snponly.efi"])?;
        ensure!(String::from_utf8_lossy(&upload.stdout).contains("not supported: upload"), "{upload:?}");
        Ok(())
    })
}

#[test]
fn c8_a_secondary_address_answers_as_itself() -> Result<()> {
    story("c8_a_secondary_address_answers_as_itself", |plant| {
        plant.endpoint("tftp", ["-m", "binary", "10.77.0.2", "-c", "get", "snponly.efi", "got"])?;
        ensure!(plant.fetched("got")? == program());
        for (name, answer) in [("snponly.efi", 3), ("absent.efi", 5)] {
            let (packet, from) = plant.on_endpoint(move || {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                socket.send_to(format!("\0\x01{name}\0octet\0").as_bytes(), ("10.77.0.2", 69))?;
                let mut buf = [0; 600];
                let (len, from) = socket.recv_from(&mut buf).context("no answer")?;
                Ok((buf[..len].to_vec(), from))
            })?;
            ensure!(packet[1] == answer && from.ip() == Ipv4Addr::new(10, 77, 0, 2), "{name}: {from}");
        }
        Ok(())
    })
}

#[test]
fn grub_cfg_is_rendered_for_the_address_that_was_asked() -> Result<()> {
    story("grub_cfg_is_rendered_for_the_address_that_was_asked", |plant| {
        plant.endpoint("tftp", ["-m", "binary", "10.77.0.2", "-c", "get", "/grub/grub.cfg", "got"])?;
        let text = String::from_utf8(plant.fetched("got")?)?;
        ensure!(text.contains("linux (tftp,10.77.0.2)/vmlinuz 'gs.appliance=10.77.0.2:8443'"), "{text}");
        Ok(())
    })
}

#[test]
fn curl_gets_heads_and_resumes() -> Result<()> {
    story("curl_gets_heads_and_resumes", |plant| {
        plant.endpoint("curl", ["-sSf", "--path-as-is", "-o", "got", "http://10.77.0.1//recovery.efi"])?;
        ensure!(plant.fetched("got")? == program());
        std::fs::write(plant.dir.path().join("part"), &program()[..100_000])?;
        plant.endpoint("curl", ["-sSf", "-C", "-", "-o", "part", "http://10.77.0.1/recovery.efi"])?;
        ensure!(plant.fetched("part")? == program(), "resumed");
        let head = plant.endpoint("curl", ["-sSfI", "http://10.77.0.1/recovery.efi"])?;
        let head = String::from_utf8(head.stdout)?;
        ensure!(head.contains(&format!("Content-Length: {}", program().len())), "{head}");
        let gone = plant.endpoint("curl", ["-sSi", "http://10.77.0.1/absent.efi"])?;
        let gone = String::from_utf8(gone.stdout)?;
        ensure!(gone.starts_with("HTTP/1.1 404") && gone.ends_with("no such file\n"), "{gone}");
        Ok(())
    })
}

#[test]
fn over_ipv6_a_file_goes_to_the_address_that_is_made_from_an_endpoints_own() -> Result<()> {
    story("over_ipv6_a_file_goes_to_the_address_that_is_made_from_an_endpoints_own", |plant| {
        plant.on_endpoint(|| {
            ip("addr add fd00:77::5054:ff:fe77:9/64 dev eth0 nodad")?;
            ip("addr add fd00:77::5054:ff:fe77:8/64 dev eth0 nodad")?;
            ip("addr add fd00:77::1234/64 dev eth0 nodad")
        })?;
        let get = |from: &str| {
            let words = ["-sS", "-o", "got", "-w", "%{http_code}", "--interface", from];
            let answer =
                plant.endpoint("curl", words.into_iter().chain(["http://[fd00:77::1]/recovery.efi"]))?;
            anyhow::Ok((String::from_utf8(answer.stdout)?, plant.fetched("got")?))
        };
        let (code, file) = get("fd00:77::5054:ff:fe77:9")?;
        ensure!(code == "200" && file == program(), "{code}");
        for (stranger, why) in [("fd00:77::5054:ff:fe77:8", "not to answer"), ("fd00:77::1234", "unknown")] {
            let (code, text) = get(stranger)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            ensure!(code == "403" && text.contains(why), "{stranger}: {code} {text}");
        }
        Ok(())
    })
}

#[test]
fn over_ipv6_tftp_hpa_gets_a_file_for_the_endpoint_alone() -> Result<()> {
    story("over_ipv6_tftp_hpa_gets_a_file_for_the_endpoint_alone", |plant| {
        let get = |from: &'static str| {
            plant.on_endpoint(move || ip(&format!("addr add {from}/64 dev eth0 nodad")))?;
            plant
                .endpoint("tftp", ["-6", "-m", "binary", "fd00:77::1", "-c", "get", "snponly.efi", "got"])?;
            let file = plant.fetched("got");
            plant.on_endpoint(move || ip(&format!("addr del {from}/64 dev eth0")))?;
            anyhow::Ok(file.unwrap_or_default())
        };
        ensure!(get("fd00:77::5054:ff:fe77:8")?.is_empty(), "a stranger got it");
        ensure!(get("fd00:77::5054:ff:fe77:9")? == program());
        Ok(())
    })
}

#[test]
fn without_a_ticket_no_protocol_gives_a_file() -> Result<()> {
    story_for("without_a_ticket_no_protocol_gives_a_file", BootDecision::LocalDisk, |plant| {
        let tftp =
            plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "get", "snponly.efi", "got"])?;
        ensure!(String::from_utf8_lossy(&tftp.stdout).contains("no live boot ticket"), "{tftp:?}");
        let curl = plant.endpoint("curl", ["-sSi", "http://10.77.0.1/recovery.efi"])?;
        let text = String::from_utf8(curl.stdout)?;
        ensure!(
            text.starts_with("HTTP/1.1 403") && text.ends_with("no live boot ticket for this endpoint\n"),
            "{text}"
        );
        Ok(())
    })
}

#[test]
fn c6_c7_a_client_without_address_is_offered_one_on_its_own_wire() -> Result<()> {
    story("c6_c7_a_client_without_address_is_offered_one_on_its_own_wire", |plant| {
        let offer = plant.on_endpoint(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.set_broadcast(true)?;
            socket.bind_device(Some(b"eth0"))?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
            let socket = UdpSocket::from(socket);
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            socket.send_to(&discover(), (Ipv4Addr::BROADCAST, 67))?;
            let mut buf = [0; 1500];
            let (len, from) = socket.recv_from(&mut buf).context("no offer came")?;
            Ok((buf[..len].to_vec(), from))
        })?;
        let (offer, from) = offer;
        ensure!(from == std::net::SocketAddr::from((US, 67)), "answered by {from}");
        ensure!(offer.len() >= 300 && offer[0] == 2 && offer[4..8] == discover()[4..8]);
        ensure!(offer[16..19] == [10, 77, 0] && (50..=99).contains(&offer[19]), "an address of the pool");
        ensure!(offer[108..119] == *b"snponly.efi", "the boot file stands in the header");
        ensure!(plant.events().iter().any(|e| matches!(e, BootEvent::OfferSent { .. })));
        Ok(())
    })
}

#[test]
fn c11_an_endpoint_with_a_ticket_learns_at_once_that_there_is_no_ipv6_router() -> Result<()> {
    story("c11_an_endpoint_with_a_ticket_learns_at_once_that_there_is_no_ipv6_router", |plant| {
        let (packet, more) = plant.on_endpoint(|| {
            let protocol = Some(socket2::Protocol::ICMPV6);
            let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, protocol)?;
            socket.bind_device(Some(b"eth0"))?;
            socket.set_multicast_hops_v6(255)?;
            let socket = UdpSocket::from(socket);
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            let scope = nix::net::if_::if_nametoindex("eth0")?;
            let routers = SocketAddrV6::new("ff02::2".parse()?, 0, 0, scope);
            // First a stranger, who gets nothing, then the endpoint.
            for last in [8, 9] {
                socket.send_to(&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0x77, 0, last], routers)?;
            }
            let mut buf = [0; 200];
            let mut advertisement = || -> Result<Vec<u8>> {
                loop {
                    let len = socket.recv(&mut buf).context("no advertisement came")?;
                    if buf[0] == 134 {
                        return Ok(buf[..len].to_vec());
                    }
                }
            };
            let first = advertisement()?;
            // What was sent to the stranger came before; a moment shows it on a slow computer too.
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            Ok((first, advertisement().is_ok()))
        })?;
        let (advertisement, network) = packet.split_at(16);
        ensure!(advertisement[5..].iter().all(|b| *b == 0), "no router, no flags: {packet:?}");
        ensure!(network.len() == 32 && network[3] == 0x80, "the network, which makes no address: {packet:?}");
        ensure!(!more, "the stranger was answered too");
        Ok(())
    })
}

#[test]
fn malformed_packets_of_every_protocol_are_told_by_name_and_hurt_nobody() -> Result<()> {
    story("malformed_packets_of_every_protocol_are_told_by_name_and_hurt_nobody", |plant| {
        plant.on_endpoint(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            for bad in [&b""[..], &[1, 1, 6, 0], &[0xff; 300], &discover()[..239]] {
                socket.send_to(bad, (US, 67))?;
            }
            for bad in [&b""[..], b"\0\x09", b"\0\x01name", &[0; 513], b"\0\x02up\0octet\0"] {
                socket.send_to(bad, (US, 69))?;
            }
            for bad in [&b"\x16\x03\x01\x02\0\x01\0\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
                let mut stream = std::net::TcpStream::connect((US, 80))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(bad)?;
                let _ = stream.read_to_end(&mut Vec::new());
            }
            Ok(())
        })?;
        let told = |stage: &str, code: &str| {
            let refused = |event: &&BootEvent| {
                matches!(event, BootEvent::Refused { stage: at, reason, peer: Some(_), .. }
                    if at.protocol() == stage && reason.code() == code)
            };
            plant.events().iter().filter(refused).count()
        };
        let until = Instant::now() + Duration::from_secs(5);
        let wanted = [
            ("dhcp", "malformed", 4),
            ("tftp", "malformed", 4),
            ("tftp", "unsupported", 1),
            ("http", "malformed", 3),
        ];
        for (stage, code, count) in wanted {
            while told(stage, code) < count && Instant::now() < until {
                std::thread::yield_now();
            }
            ensure!(
                told(stage, code) == count,
                "{stage} {code}: {}: {:#?}",
                told(stage, code),
                plant.events()
            );
        }
        plant.endpoint("curl", ["-sSf", "-o", "got", "http://10.77.0.1/recovery.efi"])?;
        ensure!(plant.fetched("got")? == program());
        Ok(())
    })
}

/// A UEFI x64 PXE discover with the hardware address of the endpoint's side.
fn discover() -> Vec<u8> {
    let mut raw = vec![0; 236];
    raw[..4].copy_from_slice(&[1, 1, 6, 0]);
    raw[4..8].copy_from_slice(&[1, 2, 3, 4]);
    raw[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x77, 0, 9]);
    raw.extend_from_slice(&[99, 130, 83, 99, 53, 1, 1, 93, 2, 0, 7, 60, 9]);
    raw.extend_from_slice(b"PXEClient\xff");
    raw
}

/// dnsmasq on the endpoint's side, with these words more, until what is returned is dropped.
fn dnsmasq(plant: &Plant, more: &[&str]) -> Result<Peer> {
    let mut words =
        vec!["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--leasefile-ro"];
    words.extend(more);
    let words: Vec<String> = words.into_iter().map(String::from).collect();
    plant.on_endpoint(move || {
        let mut command = Command::new("/usr/sbin/dnsmasq");
        let mut child =
            command.args(words).stderr(Stdio::piped()).spawn().with_context(|| missing("dnsmasq"))?;
        let said = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut said = said.lines();
        let peer = Peer(child);
        let ready = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("dnsmasq-dhcp")));
        ready.context("dnsmasq ended")??;
        // Read on, or it blocks.
        std::thread::spawn(move || said.for_each(drop));
        Ok(peer)
    })
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn b3_c18_a_probe_finds_another_dhcp_and_another_boot_server() -> Result<()> {
    story("b3_c18_a_probe_finds_another_dhcp_and_another_boot_server", |plant| {
        let other = Ipv4Addr::new(10, 77, 0, 9);
        let heard = |gives: bool, boots: bool| {
            plant.until("the other server to be heard", |event| {
                matches!(event, BootEvent::ForeignOffer { server, interface, gives: g, boots: b, .. }
                    if (*server, *interface, *g, *b) == (other, US, gives, boots))
            })
        };
        let boots =
            dnsmasq(plant, &["--dhcp-range=10.77.0.0,proxy", "--pxe-service=x86-64_EFI,Other,other"])?;
        ensure!(plant.prober.probe(1) == 1, "the interface does not listen");
        heard(false, true)?;
        drop(boots);
        let gives = dnsmasq(plant, &["--dhcp-range=10.77.0.100,10.77.0.110,1h"])?;
        plant.prober.probe(2);
        heard(true, false)?;
        drop(gives);
        // Our own offers and our own question, heard again, are nobody else's.
        let asked =
            |event: &BootEvent| matches!(event, BootEvent::DiscoverSeen { .. } | BootEvent::Refused { .. });
        ensure!(!plant.events().iter().any(asked), "{:#?}", plant.events());
        Ok(())
    })
}

#[test]
fn a_dhcp_client_gets_what_is_reserved_for_it_and_nothing_that_is_in_use() -> Result<()> {
    story_for(
        "a_dhcp_client_gets_what_is_reserved_for_it_and_nothing_that_is_in_use",
        BootDecision::LocalDisk,
        |plant| {
            // A second client on the same wire, whose own stack keeps still, and a printer with an address of the pool.
            let (free, printer) = (Ipv4Addr::new(10, 77, 0, 62), Ipv4Addr::new(10, 77, 0, 60));
            plant.on_endpoint(|| {
                ip("link add tool link eth0 address 52:54:00:77:00:0c type macvlan mode bridge")?;
                ip("link set tool arp off addrgenmode none up")?;
                ip("addr add 10.77.0.60/24 dev eth0")
            })?;
            ensure!(lease(plant, "tool", Some(free))? == Ipv4Addr::new(10, 77, 0, 20), "what is reserved");
            plant.on_endpoint(|| ip("link set tool address 52:54:00:77:00:0a"))?;
            ensure!(lease(plant, "tool", Some(free))? == free, "a client gets what it asks for");
            plant.on_endpoint(|| ip("link set tool address 52:54:00:77:00:0b"))?;
            ensure!(lease(plant, "tool", Some(printer))? != printer, "this is the printer's");
            let endpoint: Mac = "52:54:00:77:00:09".parse()?;
            plant.until("the printer to be told", |event| {
                matches!(event, BootEvent::AddressInUse { addr, by, .. } if (*addr, *by) == (printer, endpoint))
            })
        },
    )
}

/// The address that busybox's client obtains on an interface of the endpoint's side.
fn lease(plant: &Plant, interface: &str, wish: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
    let words = format!("-f -n -q -t 5 -T 1 -s /bin/true -i {interface}");
    let wish = wish.map(|wish| format!("-r {wish}")).unwrap_or_default();
    let words = format!("{words} {wish}");
    let said = plant.endpoint("udhcpc", words.split_whitespace())?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let addr = said.lines().find_map(|line| line.split("lease of ").nth(1)?.split([' ', ',']).next());
    Ok(addr.with_context(|| format!("no lease: {said}"))?.parse()?)
}

// --- the plant ---

struct Plant {
    prober: Prober,
    dir: tempfile::TempDir,
    events: Arc<Mutex<Vec<BootEvent>>>,
    to_endpoint: Sender<Errand>,
}

/// Something that is done on the endpoint's side.
type Errand = Box<dyn FnOnce() + Send>;

impl Plant {
    /// Runs a program on the endpoint's side, in a directory of its own, and expects it to end well.
    fn endpoint<S: Into<String>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Result<Output> {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        let (name, dir) = (program.to_owned(), self.dir.path().to_owned());
        let output = self.on_endpoint(move || {
            Command::new(&name).args(&args).current_dir(dir).output().with_context(|| missing(&name))
        })?;
        ensure!(output.status.success(), "{program} failed: {output:?}; events: {:#?}", self.events());
        Ok(output)
    }

    /// Runs code on the endpoint's side.
    fn on_endpoint<T: Send + 'static>(&self, code: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, answer) = channel();
        let errand: Errand = Box::new(move || drop(reply.send(code())));
        self.to_endpoint.send(errand).ok().context("the endpoint's thread is gone")?;
        answer.recv().context("the endpoint's thread died")?
    }

    fn fetched(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.dir.path().join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("{name} was not fetched"))?;
        std::fs::remove_file(path)?;
        Ok(bytes)
    }

    /// Waits for an event.
    fn until(&self, what: &str, is: impl Fn(&BootEvent) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !self.events().iter().any(&is) {
            ensure!(begun.elapsed() < Duration::from_secs(20), "{what}: {:#?}", self.events());
            std::thread::yield_now();
        }
        Ok(())
    }

    fn events(&self) -> Vec<BootEvent> {
        self.events.lock().expect("lock").clone()
    }
}

fn missing(program: &str) -> String {
    format!(
        "`{program}` cannot be run; install util-linux, iproute2, dnsmasq-base, atftp, tftp-hpa, udhcpc and curl"
    )
}

fn story(name: &str, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    story_for(name, Chain::Ipxe.into(), tell)
}

/// Outside: runs this test again in namespaces of its own. Inside: builds the plant and tells the story.
fn story_for(name: &str, decision: BootDecision, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return inside(decision, tell);
    }
    let output = Command::new("unshare")
        .args(["-r", "-n", "--"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .with_context(|| missing("unshare"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(
        output.status.success() && text.contains("1 passed"),
        "{name}, in its own namespaces (if these are forbidden here, allow unprivileged user namespaces):\n{text}"
    );
    Ok(())
}

fn inside(decision: BootDecision, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    ip("link set lo up")?;
    ip("link add boot0 type veth peer name eth0 address 52:54:00:77:00:09")?;
    let to_endpoint = endpoint_side()?;
    // Link-local addresses of our own, so that no test waits for duplicate address detection.
    ip("link set boot0 addrgenmode none")?;
    ip("addr add fe80::1/64 dev boot0 nodad")?;
    ip("addr add fd00:77::1/64 dev boot0 nodad")?;
    ip("addr add 10.77.0.1/24 dev boot0")?;
    ip("addr add 10.77.0.2/24 dev boot0")?;
    ip("link set boot0 up")?;
    let events: Arc<Mutex<Vec<BootEvent>>> = Arc::default();
    let sink = events.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = CancellationToken::new();
    let server = {
        let _guard = runtime.enter();
        serve(decision, Arc::new(move |e| sink.lock().expect("lock").push(e)))?
    };
    let prober = server.prober();
    let task = runtime.spawn(server.run(stop.clone()));
    let plant = Plant { prober, dir: tempfile::tempdir()?, events, to_endpoint };
    let told = tell(&plant);
    stop.cancel();
    runtime.block_on(task)??;
    told
}

/// A thread in a network namespace of its own, with one end of the wire; it runs errands until the plant is dropped.
fn endpoint_side() -> Result<Sender<Errand>> {
    let (errands, queue): (Sender<Errand>, Receiver<Errand>) = channel();
    let (ready, is_ready) = channel();
    let (wired, is_wired) = channel();
    std::thread::spawn(move || {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
        let sent = ready.send(unshared.map(|()| nix::unistd::gettid()));
        if sent.is_err() || is_wired.recv().is_err() {
            return;
        }
        for errand in queue {
            errand();
        }
    });
    let thread = is_ready.recv()?.context("no second network namespace")?;
    ip(&format!("link set eth0 netns {thread}"))?;
    wired.send(())?;
    let (done, is_done) = channel();
    let wire_up: Errand = Box::new(move || {
        let up = [
            "link set lo up",
            "link set eth0 addrgenmode none",
            "addr add fe80::9/64 dev eth0 nodad",
            "addr add 10.77.0.9/24 dev eth0",
            "link set eth0 up",
        ];
        drop(done.send(up.into_iter().try_for_each(ip)));
    });
    errands.send(wire_up).ok().context("the endpoint's thread is gone")?;
    is_done.recv()??;
    Ok(errands)
}

fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split(' ')).output().with_context(|| missing("ip"))?;
    ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The endpoint and those above it are armed, and nobody else: the policy goes by the hardware address.
fn serve(decision: BootDecision, events: Arc<dyn BootEvents>) -> Result<Server> {
    let endpoint: Mac = "52:54:00:77:00:09".parse()?;
    let policy = move |request: &BootRequest| {
        if request.client.mac >= endpoint { decision } else { BootDecision::Nothing }
    };
    let mut pool = FullDhcp::pool(Ipv4Addr::new(10, 77, 0, 50), Ipv4Addr::new(10, 77, 0, 99));
    pool.ipv6 = Some("fd00:77::1".parse()?);
    pool.reservations.insert("52:54:00:77:00:0c".parse()?, Ipv4Addr::new(10, 77, 0, 20));
    let interface = Interface { name: "boot0".into(), addr: US, prefix: 24, dhcp: DhcpMode::Full(pool) };
    let mut kit = Artefacts::new();
    for name in Loaders::debian().names() {
        kit.insert(Artefact::fixed(name, program().into(), "00ff")?);
    }
    let system = RecoverySystem {
        kernel: "vmlinuz".into(),
        initrd: "initrd.img".into(),
        unified: Some("recovery.efi".into()),
        agent_port: 8443,
        args: KernelArgs::new(["console=ttyS0"])?,
    };
    install(&mut kit, system, 80)?;
    Ok(Server::bind(Config::new(vec![interface]), kit, Arc::new(policy), events)?)
}

/// A body that ends on no block boundary and repeats at no block length.
fn program() -> Vec<u8> {
    (0..1_500_007u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
