//! Real clients of others against our boot layer, each test in a network namespace of its own.
//!
//! ```text
//!   user + network namespace (unshare -rn)          second network namespace
//!   Server ── boot0 10.77.0.1 (and 10.77.0.2) ══ veth ══ eth0 10.77.0.9 ── atftp, tftp, curl, a bare DHCP client
//! ```
//!
//! A test runs itself again inside `unshare`, so that it needs no root and cannot disturb the machine's network.
//! Needs the Debian packages util-linux, iproute2, dnsmasq-base, atftp, tftp-hpa, udhcpc, dhcping and curl.

mod plant;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pxe::{BootDecision, BootEvent, Mac};

use plant::{Plant, Setting, US, ip, missing, program, story, story_for, story_in};

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
fn tftp_hpa_fetches_whatever_the_spelling_and_in_text_mode_only_texts() -> Result<()> {
    story("tftp_hpa_fetches_whatever_the_spelling_and_in_text_mode_only_texts", |plant| {
        for name in ["snponly.efi", "/snponly.efi", "//SNPONLY.efi", "\\snponly.efi"] {
            plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "get", name, "got"])?;
            ensure!(plant.fetched("got")? == program(), "{name}");
        }
        let program =
            plant.endpoint("tftp", ["-m", "ascii", "10.77.0.1", "-c", "get", "snponly.efi", "no"])?;
        ensure!(String::from_utf8_lossy(&program.stdout).contains("ask for octet"), "{program:?}");
        // Its client takes the carriage returns out again.
        for (mode, to) in [("ascii", "text"), ("binary", "bytes")] {
            plant.endpoint("tftp", ["-m", mode, "10.77.0.1", "-c", "get", "/grub/grub.cfg", to])?;
        }
        let (text, bytes) = (plant.fetched("text")?, plant.fetched("bytes")?);
        ensure!(text == bytes && bytes.contains(&b'\n'), "{}", String::from_utf8_lossy(&text));
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
fn d16_in_single_port_mode_everything_comes_from_port_69() -> Result<()> {
    let setting = Setting { single_port: true, ..Setting::default() };
    story_in("d16_in_single_port_mode_everything_comes_from_port_69", setting, |plant| {
        let words = "--option,blksize 1468,--option,windowsize 16,-g,-r,snponly.efi,-l,got,10.77.0.1";
        plant.endpoint("atftp", words.split(','))?;
        ensure!(plant.fetched("got")? == program(), "with windows");
        plant.endpoint("tftp", ["-m", "binary", "10.77.0.1", "-c", "get", "snponly.efi", "got"])?;
        ensure!(plant.fetched("got")? == program(), "in lockstep");
        // A firewall that knows the two ports and no others.
        plant.on_endpoint(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((US, 69))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            let (mut got, mut buf) = (Vec::new(), [0; 600]);
            socket.send(b"\0\x01snponly.efi\0octet\0")?;
            for block in 1..=40_u16 {
                let len = socket.recv(&mut buf).with_context(|| format!("no block {block}"))?;
                ensure!(buf[..4] == [&[0, 3][..], &block.to_be_bytes()].concat(), "{:?}", &buf[..4]);
                got.extend_from_slice(&buf[4..len]);
                socket.send(&[&[0, 4][..], &block.to_be_bytes()].concat())?;
            }
            socket.send(b"\0\x05\0\0enough\0")?;
            ensure!(got == program()[..40 * 512]);
            Ok(())
        })?;
        plant.until(
            "the client's error to end its transfer",
            |event| matches!(event, BootEvent::TransferAborted { bytes, .. } if *bytes == 40 * 512),
        )
    })
}

#[test]
fn d16_a_late_acknowledgement_does_not_end_the_next_transfer_over_port_69() -> Result<()> {
    let setting = Setting { single_port: true, ..Setting::default() };
    story_in("d16_a_late_acknowledgement_does_not_end_the_next_transfer_over_port_69", setting, |plant| {
        plant.on_endpoint(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((US, 69))?;
            socket.set_read_timeout(Some(Duration::from_millis(400)))?;
            let mut buf = [0; 1500];
            for round in 0..20 {
                // As firmware does: asked again where nothing came, since a request may reach the transfer that ends just then.
                let asked = (0..10).find_map(|_| {
                    socket.send(b"\0\x01snponly.efi\0octet\0blksize\x001468\0windowsize\x0064\0").ok()?;
                    let len = socket.recv(&mut buf).ok()?;
                    Some(buf[..len].to_vec())
                });
                let asked = asked.with_context(|| format!("no answer, round {round}"))?;
                ensure!(asked == b"\0\x06blksize\x001468\0windowsize\x004\0", "{round}: {asked:?}");
                socket.send(&[0, 4, 0, 0])?;
                let mut last = 0;
                while last < 4 {
                    socket.recv(&mut buf).with_context(|| format!("no block {}, round {round}", last + 1))?;
                    ensure!(buf[1] != 5, "{round}: the error of another transfer");
                    last = if buf[1] == 3 { u16::from_be_bytes([buf[2], buf[3]]) } else { last };
                }
                // Ended by the client; its acknowledgement comes late, and its next request at once.
                socket.send(b"\0\x05\0\0enough\0")?;
                socket.send(&[0, 4, 0, 4])?;
            }
            Ok(())
        })
    })
}

#[test]
fn d7_blocks_fit_the_way_to_the_client() -> Result<()> {
    story("d7_blocks_fit_the_way_to_the_client", |plant| {
        for (mtu, blksize) in [(1500, "1468"), (1400, "1368"), (900, "868")] {
            ip(&format!("link set boot0 mtu {mtu}"))?;
            let words = "--option,blksize 1468,--option,windowsize 4,-g,-r,snponly.efi,-l,got,10.77.0.1";
            plant.endpoint("atftp", words.split(','))?;
            ensure!(plant.fetched("got")? == program(), "MTU {mtu}");
            let agreed = format!("blksize {blksize}, windowsize 4");
            plant.until(
                &agreed,
                |event| matches!(event, BootEvent::TransferStarted { options, .. } if *options == agreed),
            )?;
        }
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

#[test]
fn dhcping_is_acknowledged_the_address_that_its_client_holds() -> Result<()> {
    story("dhcping_is_acknowledged_the_address_that_its_client_holds", |plant| {
        let held = lease(plant, "eth0", None)?;
        plant.on_endpoint(move || ip(&format!("addr add {held}/24 dev eth0")))?;
        let ask = |addr: Ipv4Addr| {
            let words = format!("-v -t 5 -c {addr} -s 10.77.0.1 -h 52:54:00:77:00:09");
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            plant.on_endpoint(move || {
                Command::new("/usr/sbin/dhcping").args(words).output().with_context(|| missing("dhcping"))
            })
        };
        let said = ask(held)?;
        ensure!(String::from_utf8_lossy(&said.stdout).contains("Got answer"), "{said:?}");
        plant.until(
            "a lease to be confirmed",
            |event| matches!(event, BootEvent::AckSent { client, .. } if client.addr == Some(held)),
        )
    })
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
