//! Why a disk cannot be imported; each text says what now.

use std::io;
use std::path::PathBuf;

use super::{Format, Packing};

/// Why a disk cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {path} at byte {offset}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory, a pipe, a socket.
    #[error("{path} is neither a file nor a block device; name a disk image or a disk", path = path.display())]
    NotADisk {
        /// The file.
        path: PathBuf,
    },
    /// The kernel has given it to somebody.
    #[error("{path} is in use: it, or a partition of it, is mounted or belongs to a volume group, a RAID or another program; unmount it, or import it from a recovery system", path = path.display())]
    Held {
        /// The block device.
        path: PathBuf,
    },
    /// A virtual machine writes to it.
    #[error("{path} is open for writing in QEMU; shut the virtual machine down, then import again", path = path.display())]
    Running {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter than its own tables say.
    #[error("{path} ends within {what} of a {format}; it is cut short: fetch it again and compare its checksum", path = path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: Format,
        /// What is not whole.
        what: &'static str,
    },
    /// The file contradicts its format.
    #[error("{path} is a damaged {format}: {what}; fetch it again and compare its checksum", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: Format,
        /// What is wrong.
        what: &'static str,
    },
    /// The file asks for something that we do not do.
    #[error("{path} is a {format} that cannot be imported: {why}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: Format,
        /// Why, and what now.
        why: Refusal,
    },
    /// A format of others.
    #[error("{path} is {what}, which cannot be imported; {now}", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do.
        now: &'static str,
    },
    /// The name promises something else.
    #[error("{path} is named as a {says}, but it is a {is}; rename it if that is right, or fetch the right file (`--format raw` takes any bytes as a raw disk)", path = path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What its name says.
        says: String,
        /// What its bytes say.
        is: String,
    },
    /// The caller promises something else.
    #[error("{path} is a {is}, not a {wanted}; leave out `--format`, or fetch the right file", path = path.display())]
    NotThat {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        wanted: Format,
        /// What its bytes say.
        is: Format,
    },
    /// Compressed twice.
    #[error("{path} holds something compressed once more; unpack it first", path = path.display())]
    PackedTwice {
        /// The file.
        path: PathBuf,
    },
    /// A compressed stream that is not whole or not right.
    #[error("{path} does not unpack: its {packing} stream is cut short or damaged after {plain} plain bytes; fetch it again and compare its checksum", path = path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        packing: Packing,
        /// How much could be unpacked.
        plain: u64,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// More than is sensible comes out.
    #[error("{path} unpacks to more than {limit} bytes; if it is really a disk of that size, raise the limit with `--unpacked-max-gib`", path = path.display())]
    UnpacksTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The plain bytes do not fit beside the store.
    #[error("there is no room to unpack {path} in {temp} (a twentieth of the file system stays free); free space, or unpack it elsewhere and import the plain disk", path = path.display(), temp = temp.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Where it was to be unpacked.
        temp: PathBuf,
    },
    /// The temporary file fails.
    #[error("cannot unpack into {temp}", temp = temp.display())]
    Temp {
        /// Where.
        temp: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a file asks for that is not done, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its content is encrypted.
    #[error("it is encrypted; decrypt it with `qemu-img convert` where its key is")]
    Encrypted,
    /// Its content lies in another file.
    #[error("its data lies in an external file; make it one file with `qemu-img convert -O qcow2`")]
    ExternalData,
    /// It was not closed.
    #[error(
        "it was not closed properly; shut the virtual machine down, or repair it with `qemu-img check -r all`"
    )]
    Dirty,
    /// It says of itself that it is corrupt.
    #[error("it is marked corrupt; repair it with `qemu-img check -r all`, and look at what was lost")]
    Corrupt,
    /// Its changes stand in its log.
    #[error(
        "its log was not played back; attach it once read-write where it was made (`qemu-img check -r all` does it too)"
    )]
    Log,
    /// The writer had not finished.
    #[error(
        "it was not closed properly; start and shut down its virtual machine once, or copy it with `vmware-vdiskmanager -r`"
    )]
    Unclean,
    /// A feature of another time.
    #[error("it needs {what}, which this version does not know; convert it with `qemu-img convert -O raw`")]
    Unknown {
        /// What it needs.
        what: String,
    },
    /// Only differences, in a format whose parents we do not follow.
    #[error(
        "it holds only the differences to a parent; merge them where it was made, or with `qemu-img convert -O raw`"
    )]
    Differencing,
    /// A virtual disk beyond the limit.
    #[error("its disk has {size} bytes, and 64 TiB is the limit; check that it is the right file")]
    TooLarge {
        /// What it says.
        size: u64,
    },
    /// It names another file by a path that could lead anywhere.
    #[error(
        "it names the file `{name}`, and only files in its own directory and below are followed; put that file beside it and name it so (`qemu-img rebase -u -F FORMAT -b NAME`), or make one file with `qemu-img convert`"
    )]
    Elsewhere {
        /// The name.
        name: String,
    },
    /// It does not say what its backing file is.
    #[error(
        "it does not say what format its backing file `{name}` has, and that is not guessed; say it with `qemu-img rebase -u -F FORMAT -b NAME`"
    )]
    BackingFormat {
        /// The name.
        name: String,
    },
    /// A file of it is named again, as in a loop of backing files.
    #[error(
        "it names the file `{name}`, which is part of the disk already; mend it with `qemu-img rebase -u`, or fetch it again"
    )]
    Twice {
        /// The name.
        name: String,
    },
    /// Too many files.
    #[error("it names more than {limit} files; make it one with `qemu-img convert`")]
    TooMany {
        /// How many are followed.
        limit: usize,
    },
    /// One part of a split disk.
    #[error("it is one part of a disk; import the small file that lists the parts instead")]
    Part,
}
