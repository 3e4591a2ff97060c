#!/usr/bin/env python3
"""Make the seeds of the targets qcow2, vmdk and vhdx: small files that are whole, in the form that each target takes.

Run in this directory. Each has a plain, a compressed, a zero and an absent part of its disk.
"""
import struct
import uuid
import zlib


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def deflate(plain, bits):
    packer = zlib.compressobj(1, zlib.DEFLATED, bits)
    return packer.compress(plain) + packer.flush()


def qcow2(extended):
    cluster, bits = (16384, 14) if extended else (512, 9)
    head = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQ", 3, 0, 0, bits, 4 * cluster, 0, 1, cluster, 0, 0, 0, 0)
    head += struct.pack(">QQQII", 16 if extended else 0, 0, 0, 4, 104)
    if extended:
        # The tables lie behind what a seed holds; the header alone is worth having.
        return head.ljust(112, b"\0")
    packed = deflate(b"a" * cluster, -12)
    tables = struct.pack(">Q", 1 << 63 | 1024).ljust(512, b"\0")
    tables += struct.pack(">QQQQ", 1 << 63 | 1536, 1 << 62 | 2048, 1, 0).ljust(512, b"\0")
    return head.ljust(512, b"\0") + tables + b"b" * 512 + packed.ljust(512, b"\0")


def vmdk(packed):
    text = b'# Disk DescriptorFile\nparentCID=ffffffff\ncreateType="%s"\n' % (
        b"streamOptimized" if packed else b"monolithicSparse")
    flags, version = (0x30004, 3) if packed else (4, 1)
    head = b"KDMV" + struct.pack("<IIQQQQIQQQB", version, flags, 32, 8, 1, 1, 512, 0, 2, 0, 0)
    head += b"\n \r\n" + struct.pack("<H", int(packed))
    grain = deflate(b"a" * 4096, 15)
    grain = struct.pack("<QI", 0, len(grain)) + grain if packed else b"b" * 2048
    directory = struct.pack("<I", 3).ljust(512, b"\0")
    table = struct.pack("<III", 4, 1, 0).ljust(512, b"\0")
    return head.ljust(512, b"\0") + text.ljust(512, b"\0") + directory + table + grain


def vhdx():
    def guid(text):
        return uuid.UUID(text).bytes_le

    header = (b"\0" * 58 + struct.pack("<HIQ", 1, 0, 0)).ljust(80, b"\0")
    regions = struct.pack("<II", 2, 0)
    for name, at in (("2dc27766-f623-4200-9d64-115e9bfd4a08", 2), ("8b7ca206-4790-4b9a-b8fe-575f050f886e", 3)):
        regions += guid(name) + struct.pack("<QII", at << 20, 1 << 20, 1)
    metadata = struct.pack("<HHI", 0, 3, 0).ljust(24, b"\0")
    names = ("caa16737-fa36-4d43-b3b6-33f0aa44e76b", "2fa54224-cd1b-4876-b211-5dbed83bf4b8",
             "8141bf1d-a96f-4709-ba47-f233a8faab5f")
    for number, (name, length) in enumerate(zip(names, (8, 8, 4))):
        metadata += guid(name) + struct.pack("<IIII", 65536 + 16 * number, length, 4, 0)
    items = struct.pack("<IIQQQI", 1 << 20, 0, 0, 4 << 20, 0, 512)
    blocks = struct.pack("<QQQQ", 4 << 20 | 6, 2, 0, 3)
    return header + regions.ljust(256, b"\0") + metadata.ljust(512, b"\0") + items.ljust(128, b"\0") + blocks


write("qcow2/plain", qcow2(False))
write("qcow2/extended", qcow2(True))
write("vmdk/sparse", b"\0" + vmdk(False))
write("vmdk/stream", b"\0" + vmdk(True))
write("vmdk/descriptor", b'\1# Disk DescriptorFile\nparentCID=ffffffff\ncreateType="vmfs"\nRW 99 ZERO\nRW 1 FLAT "x" 0\n')
write("vhdx/whole", vhdx())
