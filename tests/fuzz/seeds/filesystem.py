#!/usr/bin/env python3
"""Make the seeds of the fuzz target `filesystem`: the few pieces of small filesystems that its readers look at.

Wants e2fsprogs, xfsprogs, ntfs-3g and dosfstools. Run it in this directory; what it writes is kept in the tree.
"""

import os
import subprocess
import tempfile

PIECE = 256
SIZE = 48 << 20


def make(*command):
    """The bytes of a filesystem of `SIZE`, or of less when the command gives the size."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        # mkfs.xfs makes less than 300 MiB only for its own tests.
        quiet = {name: "1" for name in ("TEST_DIR", "TEST_DEV", "QA_CHECK_FS")}
        subprocess.run([*command, file.name], check=True, env=os.environ | quiet, stdout=subprocess.DEVNULL)
        return bytearray(file.read())


def seed(name, disk, ranges):
    """Write the pieces of `disk` that hold these bytes and are not all zeros."""
    numbers = {number for first, length in ranges for number in range(first // PIECE, -(-(first + length) // PIECE))}
    pieces = [(number, bytes(disk[number * PIECE:][:PIECE])) for number in sorted(numbers)]
    listed = b"".join(number.to_bytes(3, "little") + piece for number, piece in pieces if any(piece))
    assert len(listed) <= 4096, (name, len(listed))
    with open(os.path.join("filesystem", name), "wb") as file:
        file.write(listed)


def number(disk, at, length=4, order="little"):
    return int.from_bytes(disk[at:at + length], order)


def ext():
    plain = ["mke2fs", "-q", "-F", "-b", "1024", "-N", "16", "-O", "^metadata_csum,^uninit_bg,^resize_inode"]
    for name, words, size in (("ext2", ["-t", "ext2"], "512"), ("ext4", ["-t", "ext4", "-J", "size=1"], "3000")):
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run([*plain, *words, file.name, size], check=True)
            disk = bytearray(file.read())
        inode = number(disk, 2048 + 8) * 1024 + 7 * number(disk, 1024 + 88, 2)
        journal = number(disk, inode + 40 + 20) * 1024
        places = [(1024, 1024), (2048, 64), (number(disk, 2048) * 1024, 1024)]
        seed(name, disk, places + ([(inode, 128), (journal, 64)] if name == "ext4" else []))


def xfs():
    disk = make("mkfs.xfs", "-q", "-f", "-m", "crc=0", "-b", "size=4096", "-d", "agcount=1,size=32m")
    log = number(disk, 48, 8, "big") * 4096
    roots = [number(disk, 512 + at, 4, "big") * 4096 for at in (16, 20)]
    seed("xfs", disk, [(0, 256), (512, 256), (1024, 256), (1536, 256), (log, 512), (log + 512, 64)]
         + [(root, 256) for root in roots])


def fat():
    for name, words in (("fat12", ["-F", "12", "-s", "32"]), ("fat16", ["-F", "16"]), ("fat32", ["-F", "32", "-s", "1"])):
        disk = make("mkfs.fat", *words)
        reserved, tables = number(disk, 14, 2), disk[16]
        length = number(disk, 22, 2) or number(disk, 36)
        copies = [((reserved + copy * length) * 512, 256) for copy in range(tables)]
        seed(name, disk, [(0, 512), (512, 512), (6 * 512, 512), *copies] if name == "fat32" else [(0, 512), *copies])


def ntfs():
    disk = make("mkntfs", "-q", "-F", "-f", "-c", "4096", "-p", "0", "-H", "255", "-S", "63")
    table, end = number(disk, 48, 8) * 4096, number(disk, 40, 8) * 512
    records = [table + record * 1024 for record in range(7)]
    data = {}
    # What guards the end of each sector is made zero, so that the second sector of a record need not be there.
    for record in records:
        guard = record + number(disk, record + 4, 2)
        for sector in (0, 1):
            assert disk[guard + 2 + 2 * sector:][:2] == bytes(2), "the end of a sector of a record is in use"
            at = record + 510 + 512 * sector
            disk[at:at + 2] = bytes(2)
        disk[guard:guard + 6] = bytes(6)
        # Of its attributes $DATA and what $Volume says are looked at; the others make room.
        at, kept = record + number(disk, record + 20, 2), b""
        while (kind := number(disk, at)) != 0xffffffff:
            attribute = bytes(disk[at:at + number(disk, at + 4)])
            kept += attribute if kind in (0x70, 0x80) else b""
            if kind == 0x80 and attribute[8] == 1:
                run = number(attribute, 32, 2)
                data[record] = number(attribute, run + 1 + attribute[run] % 16, attribute[run] // 16) * 4096
            at += len(attribute)
        at = record + number(disk, record + 20, 2)
        kept += b"\xff" * 4 + bytes(4)
        disk[at:at + len(kept)] = kept
        disk[record + 24:record + 28] = (at - record + len(kept)).to_bytes(4, "little")
    # Two restart areas of a log that nobody uses, in pages of 512 bytes; mkntfs leaves it empty, which is 64 pieces of 0xff.
    log, bitmap = data[records[2]], data[records[6]]
    for page in (log, log + 512):
        disk[page:page + 256] = b"RSTR".ljust(16, b"\0") + (512).to_bytes(4, "little") + bytes(4) + b"\x30".ljust(36, b"\0") + b"\xff" * 4 + bytes(192)
    places = [(log, 256), (log + 512, 256)] + [(record, number(disk, record + 24)) for record in records]
    seed("ntfs", disk, [(0, 256), (end, 256), (bitmap, 1536), *places])


def swap():
    seed("swap", make("mkswap", "-q"), [(1024, 256), (3840, 256)])


for make_seeds in (ext, xfs, fat, ntfs, swap):
    make_seeds()
