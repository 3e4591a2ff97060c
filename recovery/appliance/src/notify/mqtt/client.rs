//! A connection to a broker: CONNECT, PUBLISH at QoS 1, PINGREQ, DISCONNECT. Sections are those of MQTT 5.0; 3.1.1 is the same without properties.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Mqtt, Version};
use crate::{forward::trust, seal};

/// From a word of ours to the broker's.
const PATIENCE: Duration = Duration::from_secs(15);
/// Nothing that a broker answers to a publisher is longer.
const ANSWER_MAX: usize = 64 * 1024;

const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;
const PINGRESP: u8 = 0xd0;
const DISCONNECT: u8 = 0xe0;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What the broker publishes for us when we are gone (section 3.1.2.5).
#[derive(Debug, Clone)]
pub struct Will {
    /// Topic; it is retained.
    pub topic: String,
    /// Payload.
    pub payload: String,
}

/// A connection.
pub struct Client {
    stream: Box<dyn Stream>,
    version: Version,
    id: u16,
}

impl Client {
    /// Connect, and hear that the broker takes us.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn connect(mqtt: &Mqtt, client_id: &str, will: Option<Will>) -> Result<Self, String> {
        let told = async {
            let tcp = TcpStream::connect(&mqtt.at).await.map_err(|error| error.to_string())?;
            let stream: Box<dyn Stream> = if mqtt.tls {
                let file = mqtt.ca_file.clone().unwrap_or_else(|| PathBuf::from(trust::SYSTEM_ROOTS));
                let host = mqtt.at.rsplit_once(':').map_or(mqtt.at.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|error| format!("it names no host: {error}"))?;
                let connector = TlsConnector::from(Arc::clone(&trust::client(&file, None)?));
                Box::new(connector.connect(name, tcp).await.map_err(|error| error.to_string())?)
            } else {
                Box::new(tcp)
            };
            let mut client = Self { stream, version: mqtt.version, id: 0 };
            let password = match &mqtt.password_file {
                Some(file) => Some(seal::secret(file).map_err(|error| {
                    format!("{} cannot be read: {error}; write the password into it", file.display())
                })?),
                None => None,
            };
            let password = password.as_ref().map(|password| password.trim());
            client.say(&connect(mqtt, client_id, password, will.as_ref())).await?;
            let (kind, body) = client.hear().await?;
            match (kind, body.as_slice()) {
                (CONNACK, [_, 0, ..]) => Ok(client),
                (CONNACK, [_, code, ..]) => Err(refusal(mqtt.version, *code)),
                _ => Err("what answers there does not speak MQTT".to_owned()),
            }
        };
        timeout(PATIENCE, told).await.map_err(|_| silent())?
    }

    /// Publish, and hear that the broker has it.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> Result<(), String> {
        // 0 is none (section 2.2.1).
        self.id = if self.id == u16::MAX { 1 } else { self.id + 1 };
        let mut body = Vec::new();
        text(&mut body, topic.as_bytes());
        body.extend(self.id.to_be_bytes());
        self.properties(&mut body);
        body.extend_from_slice(payload);
        let packet = packet(0x32 | u8::from(retain), &body)?;
        let id = self.id.to_be_bytes();
        let acknowledged = async {
            self.say(&packet).await?;
            loop {
                match self.hear().await? {
                    (PUBACK, body) if body.starts_with(&id) => {
                        // From 0x80 on it is a refusal (section 3.4.2.1).
                        return match body.get(2) {
                            Some(code) if *code >= 0x80 => Err(format!("{topic} was refused (0x{code:02x})")),
                            _ => Ok(()),
                        };
                    }
                    (PUBACK | PINGRESP, _) => {}
                    (DISCONNECT, body) => return Err(ended(&body)),
                    (kind, _) => {
                        return Err(format!("it sent 0x{kind:02x}, which a publisher does not expect"));
                    }
                }
            }
        };
        timeout(PATIENCE, acknowledged).await.map_err(|_| silent())?
    }

    /// Say that we are here, and hear that it is.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn ping(&mut self) -> Result<(), String> {
        let heard = async {
            self.say(&[0xc0, 0]).await?;
            loop {
                match self.hear().await? {
                    (PINGRESP, _) => return Ok(()),
                    (DISCONNECT, body) => return Err(ended(&body)),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, heard).await.map_err(|_| silent())?
    }

    /// End it, so that the broker keeps the will to itself.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn leave(mut self) -> Result<(), String> {
        let left = async {
            self.say(&[DISCONNECT, 0]).await?;
            self.stream.shutdown().await.map_err(|error| error.to_string())
        };
        timeout(PATIENCE, left).await.map_err(|_| silent())?
    }

    fn properties(&self, body: &mut Vec<u8>) {
        if self.version == Version::V5 {
            body.push(0);
        }
    }

    async fn say(&mut self, packet: &[u8]) -> Result<(), String> {
        self.stream.write_all(packet).await.map_err(|error| error.to_string())?;
        self.stream.flush().await.map_err(|error| error.to_string())
    }

    /// The next packet: its kind (the upper four bits of its first byte) and its body.
    async fn hear(&mut self) -> Result<(u8, Vec<u8>), String> {
        hear(&mut self.stream).await
    }
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>), String> {
    let gone = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ended the connection".to_owned(),
        _ => error.to_string(),
    };
    let first = stream.read_u8().await.map_err(gone)?;
    let mut len = 0_usize;
    // At most four bytes of seven bits, the lowest first (section 1.5.5).
    for place in 0..4 {
        let byte = stream.read_u8().await.map_err(gone)?;
        len |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
        if place == 3 {
            return Err("it sent a length that is none".to_owned());
        }
    }
    if len > ANSWER_MAX {
        return Err(format!("it sent {len} bytes, which no answer to a publisher has"));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.map_err(gone)?;
    Ok((first & 0xf0, body))
}

/// CONNECT (section 3.1): a clean session, user and password and a will where there are.
fn connect(mqtt: &Mqtt, client_id: &str, password: Option<&str>, will: Option<&Will>) -> Vec<u8> {
    let v5 = mqtt.version == Version::V5;
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.push(if v5 { 5 } else { 4 });
    let mut flags = 0x02;
    if will.is_some() {
        // Retained, QoS 1.
        flags |= 0x2c;
    }
    if mqtt.user.is_some() {
        flags |= 0x80;
    }
    if password.is_some() {
        flags |= 0x40;
    }
    body.push(flags);
    body.extend(mqtt.keep_alive_s.to_be_bytes());
    if v5 {
        body.push(0);
    }
    text(&mut body, client_id.as_bytes());
    if let Some(will) = will {
        if v5 {
            body.push(0);
        }
        text(&mut body, will.topic.as_bytes());
        text(&mut body, will.payload.as_bytes());
    }
    for one in [mqtt.user.as_deref(), password].into_iter().flatten() {
        text(&mut body, one.as_bytes());
    }
    packet(0x10, &body).unwrap_or_default()
}

/// A text or binary field: two bytes of length before it (section 1.5.4). What is longer than a field can be is cut.
fn text(body: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    body.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn packet(first: u8, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut len = body.len();
    // 4 · 7 bits (section 1.5.5).
    if len >= 1 << 28 {
        return Err(format!("{len} bytes are more than a packet holds"));
    }
    let mut packet = vec![first];
    loop {
        let low = u8::try_from(len & 0x7f).unwrap_or_default();
        len >>= 7;
        packet.push(if len == 0 { low } else { low | 0x80 });
        if len == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    Ok(packet)
}

/// Why CONNECT was refused (3.1.1 table 3.1; 5.0 table 3-1).
fn refusal(version: Version, code: u8) -> String {
    let why = match (version, code) {
        (Version::V311, 1) | (Version::V5, 0x84) => "it does not speak this version: set `version`",
        (Version::V311, 2) | (Version::V5, 0x85) => "it does not take our client id",
        (Version::V311, 3) | (Version::V5, 0x88) => "it is not available",
        (Version::V311, 4) | (Version::V5, 0x86) => "user or password is wrong",
        (Version::V311, 5) | (Version::V5, 0x87) => "it does not let us in",
        _ => "it refuses us",
    };
    format!("{why} (0x{code:02x})")
}

fn ended(body: &[u8]) -> String {
    format!("it ended the connection (0x{:02x})", body.first().copied().unwrap_or_default())
}

fn silent() -> String {
    format!("it did not answer within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_is_written_in_as_many_bytes_as_it_needs() {
        for (len, head) in [
            (0, vec![0x30, 0]),
            (127, vec![0x30, 0x7f]),
            (128, vec![0x30, 0x80, 0x01]),
            (16_383, vec![0x30, 0xff, 0x7f]),
            (16_384, vec![0x30, 0x80, 0x80, 0x01]),
        ] {
            let packet = packet(0x30, &vec![0; len]).unwrap();
            assert_eq!((packet.len(), &packet[..head.len()]), (head.len() + len, &head[..]));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_broker_sends_is_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let heard = runtime.block_on(hear(&mut bytes.as_slice()));
            if let Ok((kind, body)) = heard {
                prop_assert_eq!(kind, bytes[0] & 0xf0);
                prop_assert!(body.len() < bytes.len());
            }
        }

        #[test]
        fn what_is_packed_is_heard_again(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let packed = packet(PUBACK, &body).unwrap();
            prop_assert_eq!(runtime.block_on(hear(&mut packed.as_slice())), Ok((PUBACK, body)));
        }
    }
}
