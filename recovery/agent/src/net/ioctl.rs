//! The four interface and route calls of netdevice(7) that bring a link up. Nothing else.
#![expect(
    unsafe_code,
    reason = "interface ioctls have no safe wrapper; each call passes one fully initialised struct"
)]

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc;

/// `struct ifreq` of netdevice(7): the name, then a union of 24 bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    value: [u8; 24],
}

/// `struct rtentry` of `<net/route.h>` on a 64-bit kernel.
#[repr(C)]
struct RouteEntry {
    pad1: libc::c_ulong,
    destination: [u8; 16],
    gateway: [u8; 16],
    mask: [u8; 16],
    flags: libc::c_ushort,
    pad2: libc::c_short,
    pad3: libc::c_ulong,
    pad4: *mut libc::c_void,
    metric: libc::c_short,
    device: *mut libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    initial_rtt: libc::c_ushort,
}

nix::ioctl_read_bad!(get_flags, libc::SIOCGIFFLAGS, InterfaceRequest);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, InterfaceRequest);
nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, InterfaceRequest);
nix::ioctl_write_ptr_bad!(set_mask, libc::SIOCSIFNETMASK, InterfaceRequest);
nix::ioctl_write_ptr_bad!(add_route_entry, libc::SIOCADDRT, RouteEntry);

/// `struct sockaddr_in` of ip(7), port 0.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

fn request(interface: &str, value: &[u8]) -> Result<InterfaceRequest, Errno> {
    let mut request = InterfaceRequest { name: [0; 16], value: [0; 24] };
    // One byte stays zero: the name is a C string.
    let name = request.name[..15].get_mut(..interface.len()).ok_or(Errno::ENODEV)?;
    name.copy_from_slice(interface.as_bytes());
    request.value[..value.len()].copy_from_slice(value);
    Ok(request)
}

/// Any socket; interface ioctls only need one to arrive at the network stack.
fn any_socket() -> Result<UdpSocket, Errno> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

/// Sets `IFF_UP` on `interface`.
///
/// # Errors
/// The kernel's, or `ENODEV` for a name that cannot be one.
pub fn bring_up(interface: &str) -> Result<(), Errno> {
    let socket = any_socket()?;
    let mut flags = request(interface, &[])?;
    // SAFETY: `flags` is a whole `struct ifreq`, alive during the call; the kernel writes into its union only.
    unsafe { get_flags(socket.as_raw_fd(), &raw mut flags) }?;
    let up = u16::from_ne_bytes([flags.value[0], flags.value[1]]) | libc::IFF_UP as u16;
    let flags = request(interface, &up.to_ne_bytes())?;
    // SAFETY: as above; the kernel only reads.
    unsafe { set_flags(socket.as_raw_fd(), &raw const flags) }.map(drop)
}

/// Gives `interface` its address and subnet. `prefix` is a length in bits, 0 to 32.
///
/// # Errors
/// The kernel's, or `ENODEV` for a name that cannot be one.
pub fn assign(interface: &str, address: Ipv4Addr, prefix: u8) -> Result<(), Errno> {
    let socket = any_socket()?;
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0));
    let (address, mask) =
        (request(interface, &socket_address(address))?, request(interface, &socket_address(mask))?);
    // SAFETY: `address` is a whole `struct ifreq` holding a `struct sockaddr_in`; the kernel only reads.
    unsafe { set_address(socket.as_raw_fd(), &raw const address) }?;
    // SAFETY: as above.
    unsafe { set_mask(socket.as_raw_fd(), &raw const mask) }.map(drop)
}

/// Adds the default route.
///
/// # Errors
/// The kernel's; an existing equal route is not one.
pub fn add_default_route(router: Ipv4Addr) -> Result<(), Errno> {
    let socket = any_socket()?;
    let entry = RouteEntry {
        pad1: 0,
        destination: socket_address(Ipv4Addr::UNSPECIFIED),
        gateway: socket_address(router),
        mask: socket_address(Ipv4Addr::UNSPECIFIED),
        flags: libc::RTF_UP | libc::RTF_GATEWAY,
        pad2: 0,
        pad3: 0,
        pad4: std::ptr::null_mut(),
        metric: 0,
        device: std::ptr::null_mut(),
        mtu: 0,
        window: 0,
        initial_rtt: 0,
    };
    // SAFETY: `entry` is a whole `struct rtentry`, alive during the call; the kernel only reads; a null device name means
    // "by the gateway's subnet".
    match unsafe { add_route_entry(socket.as_raw_fd(), &raw const entry) } {
        Err(Errno::EEXIST) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_the_kernels_size() {
        // <net/if.h>, <net/route.h>: sizeof on x86_64.
        assert_eq!((size_of::<InterfaceRequest>(), size_of::<RouteEntry>()), (40, 120));
    }

    #[test]
    fn a_name_that_cannot_be_an_interface_is_refused() {
        for name in ["sixteen-bytes-xx", "no-such-if0"] {
            assert_eq!(bring_up(name), Err(Errno::ENODEV), "{name}");
        }
    }
}
