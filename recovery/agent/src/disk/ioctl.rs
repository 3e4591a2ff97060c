//! The calls that speak to a disk in its own language: an NVMe admin command, an ATA command inside SCSI, and the kernel's discard.
//!
//! Sources: Linux `include/uapi/linux/nvme_ioctl.h`, `include/scsi/sg.h`, `include/uapi/linux/fs.h`. Answers go into a buffer of the
//! caller's; nothing here sends data to a disk. What a command does to one is its sender's business ([`super::health`] and
//! [`super::erase`] ask, [`super::eraser`] erases).
#![expect(
    unsafe_code,
    reason = "device ioctls have no safe wrapper; each call passes one fully initialised struct whose buffers outlive it"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::libc;

/// `struct nvme_passthru_cmd`.
#[repr(C)]
struct NvmePassThrough {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    data: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10_to_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

/// `struct sg_io_hdr`.
#[repr(C)]
struct ScsiRequest {
    interface_id: libc::c_int,
    direction: libc::c_int,
    command_len: u8,
    sense_len_max: u8,
    vectors: u16,
    data_len: u32,
    data: *mut u8,
    command: *const u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack_id: libc::c_int,
    user: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_len: u8,
    host_status: u16,
    driver_status: u16,
    residual: libc::c_int,
    duration_ms: u32,
    info: u32,
}

const SG_DIRECTION_NONE: libc::c_int = -1;
const SG_DIRECTION_FROM_DISK: libc::c_int = -3;
/// Longest sense data of SPC-4, section 4.5.1.
const SENSE_LEN: usize = 252;

nix::ioctl_none!(nvme_namespace_id, b'N', 0x40);
nix::ioctl_readwrite!(nvme_admin_command, b'N', 0x41, NvmePassThrough);
// The number is older than the scheme, `SG_IO` of `<scsi/sg.h>`.
nix::ioctl_readwrite_bad!(scsi_request, 0x2285, ScsiRequest);

// `BLKDISCARD`: `_IO(0x12, 119)` whose argument is a pointer to two numbers all the same.
nix::ioctl_write_ptr_bad!(discard_range, 0x1277, [u64; 2]);

/// An NVMe admin command without data to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvmeAdmin {
    /// Its opcode.
    pub opcode: u8,
    /// The namespace that it is for, or all ones.
    pub namespace: u32,
    /// Command dword 10.
    pub cdw10: u32,
    /// Command dword 11.
    pub cdw11: u32,
}

/// The number of the namespace behind an NVMe block device.
///
/// # Errors
/// The kernel's.
pub fn nvme_namespace(disk: &File) -> io::Result<u32> {
    // SAFETY: the request takes no argument and gives a number back.
    let number = unsafe { nvme_namespace_id(disk.as_raw_fd()) }?;
    u32::try_from(number).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Tells the disk that these bytes are free.
///
/// # Errors
/// The kernel's.
pub fn discard(disk: &File, range: Range<u64>) -> io::Result<()> {
    let start_and_len = [range.start, range.end - range.start];
    // SAFETY: the kernel reads two numbers, which live until the call returned.
    unsafe { discard_range(disk.as_raw_fd(), &raw const start_and_len) }?;
    Ok(())
}

fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
}

/// Sends an NVMe admin command whose answer goes into `answer`; there may be none.
///
/// # Errors
/// The kernel's, or the status with which the disk refused the command.
pub fn nvme_admin(disk: &File, command: NvmeAdmin, answer: &mut [u8], limit: Duration) -> io::Result<()> {
    let NvmeAdmin { opcode, namespace, cdw10, cdw11 } = command;
    let mut command = NvmePassThrough {
        opcode,
        flags: 0,
        reserved: 0,
        namespace,
        cdw2: 0,
        cdw3: 0,
        metadata: 0,
        data: if answer.is_empty() { 0 } else { answer.as_mut_ptr() as u64 },
        metadata_len: 0,
        data_len: u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        cdw10_to_15: [cdw10, cdw11, 0, 0, 0, 0],
        timeout_ms: milliseconds(limit),
        result: 0,
    };
    // SAFETY: `command` is a whole `struct nvme_passthru_cmd`; its only buffer is `answer`, which is as long as it says and
    // borrowed for the whole call. The kernel maps it or copies to it, and nothing of it after the call returned.
    match unsafe { nvme_admin_command(disk.as_raw_fd(), &raw mut command) }? {
        0 => Ok(()),
        status => Err(io::Error::other(format!("the disk refused the command with NVMe status {status:#x}"))),
    }
}

/// What came of a SCSI command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScsiAnswer {
    /// SAM-5 status: 0 good, 2 check condition.
    pub status: u8,
    /// Sense data; empty where there is none.
    pub sense: Vec<u8>,
}

/// Sends a SCSI command of 16 bytes that gives as many bytes as `answer` has, or none.
///
/// # Errors
/// The kernel's, or that the command did not reach the disk.
pub fn scsi(disk: &File, command: [u8; 16], answer: &mut [u8], limit: Duration) -> io::Result<ScsiAnswer> {
    let mut sense = [0; SENSE_LEN];
    let mut request = ScsiRequest {
        interface_id: libc::c_int::from(b'S'),
        direction: if answer.is_empty() { SG_DIRECTION_NONE } else { SG_DIRECTION_FROM_DISK },
        command_len: command.len() as u8,
        sense_len_max: SENSE_LEN as u8,
        vectors: 0,
        data_len: u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        data: answer.as_mut_ptr(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_ms: milliseconds(limit),
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_len: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_ms: 0,
        info: 0,
    };
    // SAFETY: `request` is a whole `struct sg_io_hdr`; its three buffers are as long as it says and live until the call returned.
    // The kernel reads the command, writes at most `data_len` bytes to `answer` and `sense_len_max` to `sense`.
    unsafe { scsi_request(disk.as_raw_fd(), &raw mut request) }?;
    if request.host_status != 0 {
        return Err(io::Error::other(format!(
            "the command did not reach the disk ({:#x})",
            request.host_status
        )));
    }
    let sense = sense[..usize::from(request.sense_len).min(SENSE_LEN)].to_vec();
    Ok(ScsiAnswer { status: request.status, sense })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn structs_have_the_kernels_size() {
        // <linux/nvme_ioctl.h>, <scsi/sg.h>: sizeof on x86_64.
        assert_eq!((size_of::<NvmePassThrough>(), size_of::<ScsiRequest>()), (72, 88));
    }

    #[test]
    fn what_is_no_disk_does_not_answer() {
        let file = tempfile::tempfile().unwrap();
        let command = NvmeAdmin { opcode: 2, namespace: u32::MAX, cdw10: 2, cdw11: 0 };
        assert!(nvme_admin(&file, command, &mut [0; 512], LIMIT).is_err());
        assert!(nvme_namespace(&file).is_err());
        assert!(discard(&file, 0..512).is_err());
        assert!(scsi(&file, [0; 16], &mut [], LIMIT).is_err());
    }
}
