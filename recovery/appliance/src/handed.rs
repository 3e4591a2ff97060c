//! Listening sockets that outlive a start: the service manager holds them, hands them over by name, and those who connect meanwhile wait instead of
//! being refused (`sd_listen_fds(3)`, `FDSTORE=1` of `sd_notify(3)`).
//!
//! ```text
//! socket unit, or the store of this unit ─► LISTEN_FDS, LISTEN_FDNAMES ─► take("people", address) ─► (ours: as configured) ─► served
//!                                              └─ none of that name and address ─► bound here ─► keep ─► in the store for the next start
//! ```
//!
//! The configuration says where we listen: a socket of another address is closed, and said. Without a service manager everything is bound here. It must
//! never: listen where the configuration does not say so.
#![expect(
    unsafe_code,
    reason = "a file descriptor that was inherited has no owner yet; only what the service manager numbers is taken, and once"
)]

use std::{
    env,
    io::{self, IoSlice},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net as unix,
    },
    sync::{LazyLock, Mutex, PoisonError},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg},
};

/// A socket and what it is called.
type Named = (String, TcpListener);

/// What this process was started with.
static HANDED: LazyLock<Mutex<Vec<Named>>> = LazyLock::new(|| Mutex::new(inherited()));

/// Everything that was handed over, taken once. What is no listening TCP socket is closed.
fn inherited() -> Vec<Named> {
    let numbered = match sd_notify::listen_fds_with_names() {
        Ok(numbered) => numbered,
        Err(error) => {
            tracing::warn!(%error, "what the service manager hands over cannot be understood");
            return Vec::new();
        }
    };
    numbered
        .filter_map(|(number, name)| {
            // SAFETY: the service manager opened it for this process (LISTEN_PID is ours), and nobody here owns it: this runs once.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            // Programs that are started from here must not hold it open.
            fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
            let listener = TcpListener::from(socket);
            listener.local_addr().ok().map(|_| (name, listener))
        })
        .collect()
}

/// The socket of this name, where one was handed over that listens at this address.
pub fn take(name: &str, wanted: SocketAddr) -> Option<TcpListener> {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    pick(&mut handed, name, wanted)
}

fn pick(handed: &mut Vec<Named>, name: &str, wanted: SocketAddr) -> Option<TcpListener> {
    let (mut of_name, rest): (Vec<Named>, Vec<Named>) = handed.drain(..).partition(|(of, _)| of == name);
    *handed = rest;
    let at = of_name.iter().position(|(_, socket)| {
        socket.local_addr().is_ok_and(|at| at == wanted)
            && nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::AcceptConn).is_ok_and(|is| is)
    });
    let found = at.map(|at| of_name.swap_remove(at).1);
    for (_, other) in &of_name {
        let at = other.local_addr().map(|at| at.to_string()).unwrap_or_default();
        // The same one twice, of a socket unit and of the store, is no matter.
        if found.as_ref().is_none_or(|found| found.local_addr().ok() != other.local_addr().ok()) {
            tracing::warn!(name, at, %wanted, "a socket that was handed over is not where the configuration says; it is closed");
            let _ = tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
        }
    }
    found
}

/// Have the service manager hold it: at the next start it is handed over. Without one nothing happens.
pub fn keep(name: &str, socket: &impl std::os::fd::AsFd) {
    // FDPOLL=0: a socket that listens is not to be dropped for what happens on it.
    if let Err(error) = tell(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), Some(socket.as_fd().as_raw_fd()))
    {
        tracing::warn!(%error, name, "the service manager does not hold the socket: a restart refuses connections");
    }
}

fn tell(words: &str, socket: Option<i32>) -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        None => Ok(()),
        Some(at) => tell_at(&at.to_string_lossy(), words, socket),
    }
}

/// One datagram to the service manager, with a file descriptor or without.
fn tell_at(at: &str, words: &str, socket: Option<i32>) -> io::Result<()> {
    let to = match at.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
        None => UnixAddr::new(at)?,
    };
    let from = unix::UnixDatagram::unbound()?;
    let sockets: Vec<i32> = socket.into_iter().collect();
    let beside = [ControlMessage::ScmRights(&sockets)];
    let beside = if sockets.is_empty() { &beside[..0] } else { &beside[..] };
    sendmsg(from.as_raw_fd(), &[IoSlice::new(words.as_bytes())], beside, MsgFlags::MSG_NOSIGNAL, Some(&to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream, os::linux::net::SocketAddrExt as _};

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[test]
    fn a_socket_is_taken_by_name_and_address_once_and_another_address_is_closed() {
        let ((first, at), (other, elsewhere), (agents, agents_at)) = (listener(), listener(), listener());
        let twice = first.try_clone().unwrap();
        let mut handed = vec![
            ("people".to_owned(), other),
            ("people".to_owned(), first),
            ("people".to_owned(), twice),
            ("endpoints".to_owned(), agents),
        ];
        let taken = pick(&mut handed, "people", at).unwrap();
        assert_eq!((taken.local_addr().unwrap(), handed.len()), (at, 1));
        assert!(TcpStream::connect(elsewhere).is_err(), "nobody serves it, so nobody waits there");
        assert!(pick(&mut handed, "people", at).is_none());
        assert!(pick(&mut handed, "endpoints", at).is_none() && handed.is_empty());
        assert!(TcpStream::connect(agents_at).is_err());
    }

    #[test]
    fn who_connects_while_nobody_serves_is_served_by_the_next_start() {
        let (before, at) = listener();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = unix::UnixDatagram::bind(&path).unwrap();
        tell_at(path.to_str().unwrap(), "FDSTORE=1\nFDNAME=people\nFDPOLL=0", Some(before.as_raw_fd()))
            .unwrap();
        let (mut words, mut space) = ([0; 256], nix::cmsg_space!([i32; 1]));
        let mut into = [io::IoSliceMut::new(&mut words)];
        let got =
            recvmsg::<UnixAddr>(manager.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::empty()).unwrap();
        let held: Vec<i32> = got
            .cmsgs()
            .unwrap()
            .flat_map(|one| if let ControlMessageOwned::ScmRights(held) = one { held } else { Vec::new() })
            .collect();
        let len = got.bytes;
        assert_eq!(&words[..len], b"FDSTORE=1\nFDNAME=people\nFDPOLL=0");
        // The appliance ends; the manager holds the socket; somebody comes.
        drop(before);
        let mut somebody = TcpStream::connect(at).unwrap();
        somebody.write_all(b"hello").unwrap();
        // SAFETY: it was just received and nobody owns it.
        let held = unsafe { OwnedFd::from_raw_fd(held[0]) };
        let mut handed = vec![("people".to_owned(), TcpListener::from(held))];
        let next = pick(&mut handed, "people", at).unwrap();
        let (mut served, from) = next.accept().unwrap();
        assert_eq!(from, somebody.local_addr().unwrap());
        let mut said = [0; 5];
        io::Read::read_exact(&mut served, &mut said).unwrap();
        assert_eq!(&said, b"hello");
    }

    #[test]
    fn an_abstract_address_is_one() {
        let name = format!("groundstate-test-{}", std::process::id());
        let at = unix::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = unix::UnixDatagram::bind_addr(&at).unwrap();
        tell_at(&format!("@{name}"), "FDSTOREREMOVE=1\nFDNAME=people", None).unwrap();
        let mut words = [0; 64];
        let len = manager.recv(&mut words).unwrap();
        assert_eq!(&words[..len], b"FDSTOREREMOVE=1\nFDNAME=people");
    }
}
