//! The boot services as an endpoint would ask them: ports, and a boot file over TFTP and HTTP, compared with the kit's own digest.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use recovery_protocol::{kit::BootKit, net::NetView};
use ring::digest;

use super::{AS_ROOT, Finding};
use crate::{cli::Client, config::Config};

const PATIENCE: Duration = Duration::from_secs(5);
/// What a boot file may weigh here.
const FILE_MAX: usize = 512 << 20;

/// All of it.
pub fn look(config: &Config, client: Option<&Client>) -> Vec<Finding> {
    let mut found = vec![ports(config)];
    let net = client.map(|client| client.get::<NetView>("/api/v1/net"));
    let file = smallest(config);
    let addresses: Vec<Ipv4Addr> = match &net {
        Some(Ok(net)) => {
            net.interfaces.iter().filter_map(|one| one.address.split('/').next()?.parse().ok()).collect()
        }
        _ => Vec::new(),
    };
    let (Some((name, sha256)), false) = (file, addresses.is_empty()) else {
        let why = match (&net, config.boot_kit_dir.is_some()) {
            (None | Some(Err(_)), _) => "the appliance did not say which interfaces it serves",
            (_, false) => "no `boot_kit_dir` is named, or no configuration was (--config)",
            _ => "no interface is served, or the boot kit cannot be read",
        };
        found.extend(
            ["tftp-fetch", "http-fetch", "agent-fetch"].map(|check| Finding::unknown(check, why, AS_ROOT)),
        );
        return found;
    };
    for address in addresses {
        let tftp = SocketAddr::from((address, config.listen.tftp_port));
        let http = SocketAddr::from((address, config.listen.http_port));
        found.push(judged("tftp-fetch", tftp, &name, &sha256, over_tftp(tftp, &name)));
        found.push(judged("http-fetch", http, &name, &sha256, over_http(http, &name)));
        for (name, sha256) in recovery_system(config) {
            found.push(judged("agent-fetch", http, &name, &sha256, over_http(http, &name)));
        }
    }
    found
}

/// What holds the agent, and its digests: the initrd, and the unified image.
fn recovery_system(config: &Config) -> Vec<(String, String)> {
    let text = config.boot_kit_dir.as_ref().and_then(|dir| fs::read(dir.join(BootKit::FILE_NAME)).ok());
    let kit: Option<BootKit> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let holds = [BootKit::INITRD, BootKit::UKI];
    let files = kit.into_iter().flat_map(|kit| kit.files);
    files.filter(|(name, _)| holds.contains(&name.as_str())).map(|(name, file)| (name, file.sha256)).collect()
}

/// The smallest loader of the kit, and its digest.
fn smallest(config: &Config) -> Option<(String, String)> {
    let text = fs::read(config.boot_kit_dir.as_ref()?.join(BootKit::FILE_NAME)).ok()?;
    let kit: BootKit = serde_json::from_slice(&text).ok()?;
    let loaders = [BootKit::IPXE_EFI, BootKit::IPXE_BIOS, BootKit::SHIM_EFI, BootKit::UKI];
    let (name, file) = kit
        .files
        .into_iter()
        .filter(|(name, _)| loaders.contains(&name.as_str()))
        .min_by_key(|(_, file)| file.size_bytes)?;
    Some((name, file.sha256))
}

fn judged(
    check: &'static str,
    at: SocketAddr,
    name: &str,
    sha256: &str,
    fetched: Result<Vec<u8>, String>,
) -> Finding {
    match fetched {
        Err(why) => Finding::failure(
            check,
            format!("{name} from {at}: {why}"),
            "look whether a firewall stands before it (`nft list ruleset`), and at the appliance's log",
        ),
        Ok(bytes) if hex::encode(digest::digest(&digest::SHA256, &bytes)) == sha256 => {
            Finding::ok(check, format!("{name} from {at}: {} bytes, as the kit lists them", bytes.len()))
        }
        Ok(bytes) => Finding::failure(
            check,
            format!("{name} from {at}: {} bytes that are not those of the kit", bytes.len()),
            "restart the appliance, so that it serves the kit as it is now; else somebody else answers here",
        ),
    }
}

/// RFC 1350, in lockstep with blocks of 1428 bytes (RFC 2348), as plain firmware asks.
fn over_tftp(server: SocketAddr, name: &str) -> Result<Vec<u8>, String> {
    let wrong = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(wrong("no socket"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(wrong("no socket"))?;
    let mut request = vec![0, 1];
    for word in [name, "octet", "blksize", "1428"] {
        request.extend_from_slice(word.as_bytes());
        request.push(0);
    }
    socket.send_to(&request, server).map_err(wrong("it cannot be asked"))?;
    let (mut file, mut packet, mut block_size) = (Vec::new(), [0; 2048], 512);
    let (mut expected, mut peer): (u16, Option<SocketAddr>) = (1, None);
    loop {
        let (len, from) = socket.recv_from(&mut packet).map_err(wrong("no answer"))?;
        if *peer.get_or_insert(from) != from || from.ip() != server.ip() {
            continue;
        }
        let (kind, rest) = match &packet[..len] {
            [0, kind, rest @ ..] => (*kind, rest),
            _ => return Err("an answer that is no TFTP".to_owned()),
        };
        match (kind, rest) {
            (6, options) => {
                let words: Vec<&[u8]> = options.split(|byte| *byte == 0).collect();
                let granted = words.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(b"blksize"));
                let size = granted.and_then(|pair| std::str::from_utf8(pair.get(1)?).ok()?.parse().ok());
                block_size = size.unwrap_or(512);
                acknowledge(&socket, from, 0)?;
            }
            (3, [high, low, data @ ..]) => {
                let block = u16::from_be_bytes([*high, *low]);
                if block == expected {
                    file.extend_from_slice(data);
                    expected = expected.wrapping_add(1);
                }
                acknowledge(&socket, from, block)?;
                if block == expected.wrapping_sub(1) && data.len() < block_size {
                    return Ok(file);
                }
                if file.len() > FILE_MAX {
                    return Err("it does not end".to_owned());
                }
            }
            (5, [_, code, text @ ..]) => {
                let text = String::from_utf8_lossy(text);
                return Err(format!("refused, error {code}: {}", text.trim_end_matches('\0')));
            }
            _ => return Err(format!("an answer of kind {kind}")),
        }
    }
}

fn acknowledge(socket: &UdpSocket, to: SocketAddr, block: u16) -> Result<(), String> {
    let [high, low] = block.to_be_bytes();
    socket
        .send_to(&[0, 4, high, low], to)
        .map(|_| ())
        .map_err(|error| format!("it cannot be answered: {error}"))
}

fn over_http(server: SocketAddr, name: &str) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(wrong)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    let request = format!(
        "GET /{name} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: groundstate-doctor\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(wrong)?;
    let mut answer = Vec::new();
    stream.take(FILE_MAX as u64).read_to_end(&mut answer).map_err(wrong)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("an answer that is no HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(answer.split_off(end + 4)),
        _ => Err(format!("it answers `{status}`")),
    }
}

/// Whether what we serve on is ours, or free for us, as the kernel's tables say it.
fn ports(config: &Config) -> Finding {
    const CHECK: &str = "ports";
    let listen = &config.listen;
    let serves = !config.interfaces.is_empty();
    let mut wanted = vec![("tcp", listen.people_port, "console"), ("tcp", listen.endpoints_port, "agents")];
    if serves {
        wanted.extend([
            ("tcp", listen.http_port, "HTTP boot"),
            ("udp", listen.tftp_port, "TFTP"),
            ("udp", listen.dhcp_port, "DHCP"),
            ("udp", listen.boot_server_port, "boot server"),
        ]);
    }
    let owners = owners();
    let (mut ours, mut free, mut taken, mut unseen) = (0, Vec::new(), Vec::new(), Vec::new());
    for (protocol, port, what) in wanted.into_iter().filter(|(_, port, _)| *port != 0) {
        let holders = holders(protocol, port);
        if holders.is_empty() {
            free.push(format!("{port}/{protocol} ({what})"));
        }
        for inode in holders {
            match owners.get(&inode).map(String::as_str) {
                Some("groundstate") => ours += 1,
                Some(other) => taken.push(format!("{port}/{protocol} ({what}) is held by {other}")),
                None => unseen.push(format!("{port}/{protocol} ({what})")),
            }
        }
    }
    match (taken.is_empty(), unseen.is_empty()) {
        (false, _) => {
            let remedy = "end that program, or give the appliance another port under [listen]";
            Finding::failure(CHECK, taken.join("; "), remedy)
        }
        (true, false) => {
            let why = format!("{} are held by somebody who is not shown to you", unseen.join(", "));
            Finding::unknown(CHECK, why, AS_ROOT)
        }
        (true, true) if free.is_empty() => Finding::ok(CHECK, format!("{ours} sockets, all of groundstate")),
        (true, true) => {
            Finding::ok(CHECK, format!("{ours} sockets of groundstate; free: {}", free.join(", ")))
        }
    }
}

/// Inodes of the sockets that listen on a port.
fn holders(protocol: &str, port: u16) -> Vec<u64> {
    let mut found = Vec::new();
    for table in [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let local = words.get(1).and_then(|local| local.rsplit(':').next());
            let listens = protocol == "udp" || words.get(3) == Some(&"0A");
            if listens && local.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port) {
                found.extend(words.get(9).and_then(|inode| inode.parse::<u64>().ok()));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The programs behind sockets, as far as we may see them.
fn owners() -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
    {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                owners.insert(inode, name.clone());
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn a_port_that_another_program_holds_is_seen_with_its_name() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut config = Config::default();
        (config.listen.people_port, config.listen.endpoints_port) = (other.local_addr().unwrap().port(), 0);
        let finding = ports(&config);
        // The test's own process is not called as the appliance is.
        assert_eq!(finding.severity, Severity::Failure, "{finding:?}");
        assert!(finding.evidence.contains("held by"), "{finding:?}");
        config.listen.people_port = 0;
        assert_eq!(ports(&config).severity, Severity::Ok);
    }

    #[test]
    fn silence_and_refusal_are_failures_with_their_reason() {
        let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = deaf.local_addr().unwrap();
        drop(deaf);
        let finding = judged("http-fetch", at, "x.efi", "00", over_http(at, "x.efi"));
        assert_eq!(finding.severity, Severity::Failure, "{finding:?}");
        let other = judged("tftp-fetch", at, "x.efi", "00", Ok(vec![1]));
        assert!(other.evidence.contains("not those of the kit"), "{other:?}");
    }
}
