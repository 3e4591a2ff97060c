//! A file under a passphrase in the age format, version 1 (C2SP `age`): the recipient scrypt, and the STREAM of chunks. For public keys: [`recipient`].
//!
//! ```text
//! age-encryption.org/v1                                       scrypt(passphrase, salt, 2^n) opens the file key
//! -> scrypt <salt> <n>
//! <file key, sealed>
//! --- <HMAC over the above>
//! nonce (16)  chunk of 64 KiB + tag … the last one is marked  ChaCha20-Poly1305, the chunk's number as nonce
//! ```
//!
//! Whoever lost us opens it with `age --decrypt`. What was altered or cut is refused; [`Opened::read`] gives only what was
//! verified, and an end only where the end is.

mod recipient;

use std::io::{self, Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};
use zeroize::Zeroizing;

use crate::keys::{KeyError, random};

pub use self::recipient::Recipient;

const VERSION: &str = "age-encryption.org/v1";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
/// What is taken from a file: 2^22 is 4 GiB of memory, more than whoever wrote it may ask of us.
const LOG_N_MAX: u8 = 20;
const HEADER_MAX: usize = 4096;

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// Not of the form, or for another kind of recipient.
    #[error("it is no file under a passphrase in the age format ({0})")]
    Form(&'static str),
    /// The passphrase does not open it, or its head was altered: the two cannot be told apart.
    #[error("the passphrase does not open it, or its head was altered")]
    Passphrase,
    /// A public key with which nothing can be agreed upon.
    #[error("the key of a recipient cannot be used; ask for another one")]
    Recipient,
    /// What stands in it is not what was written.
    #[error("it was altered, or cut off")]
    Altered,
}

impl From<AgeError> for io::Error {
    fn from(error: AgeError) -> Self {
        match error {
            AgeError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    struct Len;
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = Zeroizing::new([0; 32]);
    let info = [info];
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&info, Len)
        .and_then(|okm| okm.fill(key.as_mut_slice()));
    // 32 bytes are one block of HKDF: it cannot be too long.
    filled.unwrap_or_else(|_| unreachable!("32 bytes of HKDF-SHA-256"));
    key
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    LessSafeKey::new(key.unwrap_or_else(|_| unreachable!("a key of 32 bytes")))
}

fn wrapping(passphrase: &str, salt: &[u8], log_n: u8) -> Result<LessSafeKey, AgeError> {
    let params = scrypt::Params::new(log_n, 8, 1).map_err(|_| AgeError::Form("its work factor"))?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &[LABEL, salt].concat(), &params, key.as_mut_slice())
        .map_err(|_| AgeError::Form("its work factor"))?;
    Ok(cipher(&key))
}

fn mac_key(file_key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derive(file_key, &[], b"header").as_slice())
}

/// Number of a chunk and whether it is the last, as its nonce.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

/// Writes such a file; without [`Sealed::finish`] it has no end and is refused.
pub struct Sealed<W: Write> {
    out: W,
    key: LessSafeKey,
    number: u64,
    chunk: Vec<u8>,
}

impl<W: Write> Sealed<W> {
    /// Write the head. scrypt takes 2^`log_n` KiB of memory.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn begin(out: W, passphrase: &str, log_n: u8) -> Result<Self, AgeError> {
        let salt = random::<16>()?;
        let file_key = Zeroizing::new(random::<16>()?);
        let mut body = file_key.to_vec();
        // A key is used once: its nonce is zero (C2SP age, "The scrypt recipient type").
        wrapping(passphrase, &salt, log_n)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
            .map_err(|_| AgeError::Altered)?;
        let b64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let stanza = format!("-> scrypt {} {log_n}\n{}\n", b64(&salt), b64(&body));
        Self::behind(out, &stanza, &file_key)
    }

    /// The head around what opens the file key.
    fn behind(mut out: W, stanzas: &str, file_key: &Zeroizing<[u8; 16]>) -> Result<Self, AgeError> {
        let stream = random::<16>()?;
        let head = format!("{VERSION}\n{stanzas}---");
        let mac = hmac::sign(&mac_key(file_key.as_slice()), head.as_bytes());
        out.write_all(format!("{head} {}\n", STANDARD_NO_PAD.encode(mac.as_ref())).as_bytes())?;
        out.write_all(&stream)?;
        let key = cipher(&derive(file_key.as_slice(), &stream, b"payload"));
        Ok(Self { out, key, number: 0, chunk: Vec::with_capacity(CHUNK + TAG) })
    }

    /// Write the end.
    ///
    /// # Errors
    /// [`io::Error`].
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(self.number, last), Aad::empty(), &mut self.chunk)
            .map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for what follows: it may be the last.
        if self.chunk.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads such a file.
pub struct Opened<R: Read> {
    file: R,
    key: LessSafeKey,
    number: u64,
    /// Read from the file and not yet opened.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
    over: bool,
}

impl<R: Read> Opened<R> {
    /// Read the head.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn open(mut file: R, passphrase: &str) -> Result<Self, AgeError> {
        let mut left = HEADER_MAX;
        let mut line = || line(&mut file, &mut left);
        let form = AgeError::Form;
        if line()? != VERSION {
            return Err(form("its first line"));
        }
        let stanza = line()?;
        let mut parts = stanza.strip_prefix("-> scrypt ").ok_or(form("its recipient"))?.split(' ');
        let (salt_text, log_n_text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::Form("its base64"));
        let salt = decode(salt_text)?;
        let log_n: u8 = log_n_text.parse().map_err(|_| form("its work factor"))?;
        if salt.len() != 16 || log_n == 0 || log_n > LOG_N_MAX || log_n.to_string() != log_n_text {
            return Err(form("its salt or work factor"));
        }
        let body_text = line()?;
        let mut body = decode(&body_text)?;
        let end = line()?;
        let mac = decode(end.strip_prefix("--- ").ok_or(form("the end of its head"))?)?;
        let opened = wrapping(passphrase, &salt, log_n)?
            .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
            .map_err(|_| AgeError::Passphrase)?;
        let file_key = Zeroizing::new(opened.to_vec());
        let head = format!("{VERSION}\n{stanza}\n{body_text}\n---");
        if file_key.len() != 16 || hmac::verify(&mac_key(&file_key), head.as_bytes(), &mac).is_err() {
            return Err(AgeError::Passphrase);
        }
        let mut stream = [0; 16];
        file.read_exact(&mut stream).map_err(cut)?;
        let key = cipher(&derive(&file_key, &stream, b"payload"));
        let (sealed, plain) = (Vec::new(), Vec::new());
        Ok(Self { file, key, number: 0, sealed, plain, at: 0, over: false })
    }

    /// The next chunk. One byte more than a chunk says that it is not the last.
    fn next(&mut self) -> Result<(), AgeError> {
        let want = (CHUNK + TAG + 1 - self.sealed.len()) as u64;
        Read::by_ref(&mut self.file).take(want).read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() <= CHUNK + TAG;
        let rest = if last { Vec::new() } else { self.sealed.split_off(CHUNK + TAG) };
        let mut chunk = std::mem::replace(&mut self.sealed, rest);
        let opened = self
            .key
            .open_in_place(nonce(self.number, last), Aad::empty(), &mut chunk)
            .map_err(|_| AgeError::Altered)?
            .len();
        // Only a file of nothing ends in a chunk of nothing.
        if last && opened == 0 && self.number > 0 {
            return Err(AgeError::Altered);
        }
        chunk.truncate(opened);
        (self.plain, self.at, self.over) = (chunk, 0, last);
        self.number += 1;
        Ok(())
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if self.over {
                return Ok(0);
            }
            self.next()?;
        }
        let taken = into.len().min(self.plain.len() - self.at);
        into[..taken].copy_from_slice(&self.plain[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn cut(error: io::Error) -> AgeError {
    if error.kind() == io::ErrorKind::UnexpectedEof { AgeError::Altered } else { AgeError::Io(error) }
}

/// A line of the head, without its end.
fn line(file: &mut impl Read, left: &mut usize) -> Result<String, AgeError> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        file.read_exact(&mut byte).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AgeError::Form("it ends in its head"),
            _ => AgeError::Io(error),
        })?;
        *left = left.checked_sub(1).ok_or(AgeError::Form("its head is too long"))?;
        if byte == *b"\n" {
            return String::from_utf8(bytes).map_err(|_| AgeError::Form("its head is no text"));
        }
        bytes.push(byte[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "correct horse";

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut file = Sealed::begin(Vec::new(), WORD, 4).unwrap();
        file.write_all(plain).unwrap();
        file.finish().unwrap()
    }

    fn opened(file: &[u8], word: &str) -> Result<Vec<u8>, AgeError> {
        let mut plain = Vec::new();
        Opened::open(file, word)?.read_to_end(&mut plain).map_err(|error| match error.downcast() {
            Ok(AgeError::Altered) => AgeError::Altered,
            other => panic!("{other:?}"),
        })?;
        Ok(plain)
    }

    #[test]
    fn what_is_sealed_is_opened_whatever_its_length() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
            let plain: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            assert_eq!(opened(&sealed(&plain), WORD).unwrap(), plain, "{len}");
        }
    }

    #[test]
    fn another_word_an_altered_byte_and_a_cut_are_refused() {
        let plain = vec![7; 2 * CHUNK];
        let file = sealed(&plain);
        assert!(matches!(opened(&file, "wrong"), Err(AgeError::Passphrase)));
        let head = file.len() - 2 * (CHUNK + TAG) - 16;
        for at in [0, 30, head - 10, head + 3, head + 20, head + 16 + CHUNK, file.len() - 1] {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(opened(&altered, WORD).is_err(), "{at}");
        }
        for len in
            [0, 10, head - 1, head + 5, head + 16, head + 16 + CHUNK + TAG, file.len() - TAG, file.len() - 1]
        {
            assert!(opened(&file[..len], WORD).is_err(), "{len}");
        }
        let longer = [file.as_slice(), &[0]].concat();
        assert!(opened(&longer, WORD).is_err());
        let hungry = String::from_utf8_lossy(&file[..head]).replace(" 4\n", " 31\n").into_bytes();
        assert!(matches!(opened(&hungry, WORD), Err(AgeError::Form(_))));
    }

    /// The program that everybody has: each opens what the other sealed. It asks for the word at a terminal, so Python gives it one.
    #[test]
    fn age_opens_ours_and_we_open_what_age_sealed() {
        const AT_A_TERMINAL: &str = "import os,pty,sys\n\
            pid,fd=pty.fork()\n\
            if pid==0: os.execvp('age',['age']+sys.argv[2:])\n\
            said=b''\n\
            while True:\n\
            \x20   try: more=os.read(fd,1000)\n\
            \x20   except OSError: break\n\
            \x20   if not more: break\n\
            \x20   said+=more\n\
            \x20   if said.rstrip().endswith((b'passphrase:',b'secure one):')): os.write(fd,sys.argv[1].encode()+b'\\n'); said=b''\n\
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))\n";
        let dir = tempfile::tempdir().unwrap();
        let age = |args: &[&str]| {
            let run = std::process::Command::new("python3")
                .current_dir(dir.path())
                .args(["-c", AT_A_TERMINAL, WORD])
                .args(args)
                .output()
                .unwrap();
            assert!(run.status.success(), "{args:?} {run:?}");
        };
        let plain: Vec<u8> = (0..CHUNK + 100).map(|n| (n % 251) as u8).collect();
        std::fs::write(dir.path().join("ours.age"), sealed(&plain)).unwrap();
        age(&["--decrypt", "-o", "ours", "ours.age"]);
        assert_eq!(std::fs::read(dir.path().join("ours")).unwrap(), plain);
        age(&["--passphrase", "-o", "theirs.age", "ours"]);
        assert_eq!(opened(&std::fs::read(dir.path().join("theirs.age")).unwrap(), WORD).unwrap(), plain);
    }
}
