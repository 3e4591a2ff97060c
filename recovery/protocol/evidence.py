#!/usr/bin/env python3
"""Check an export of the evidence log with Python's standard library alone.

    evidence.py EXPORT KEY [CHECKPOINT...]      KEY: 64 hex digits; a CHECKPOINT that was kept must still hold

Written from RFC 6962 (tree), RFC 8032 (Ed25519) and C2SP signed-note and tlog-checkpoint, apart from the product.
It checks what the product writes now; entries of version 1 are under the tree like all others.
"""
import base64, hashlib, json, sys

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):  # RFC 8032, 5.1.4: points as (X, Y, Z, T)
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % P, y * z % P, x * y % P, w * z % P


def times(n, point):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def point(data):  # 5.1.3
    y, sign = int.from_bytes(data, "little"), data[31] >> 7
    y &= 2**255 - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P:
        raise ValueError("no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):  # 5.1.7
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    a, b = times(s, BASE), add(point(signature[:32]), times(k, point(key)))
    return s < Q and not (a[0] * b[2] - b[0] * a[2]) % P and not (a[1] * b[2] - b[1] * a[2]) % P


def checkpoint(note, key):
    text, signatures = note.rsplit("\n\n", 1)
    origin, size, root = text.split("\n")[:3]
    name = "groundstate.evidence/" + key[:8].hex()
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    for line in signatures.splitlines():
        _, by, data = line.split(" ")
        data = base64.b64decode(data)
        if by == name == origin and data[:4] == key_id and signed(key, (text + "\n").encode(), data[4:]):
            return int(size), base64.b64decode(root)
    raise SystemExit("bad: a checkpoint that the key did not sign")


def main(export, key, *kept):
    key, held = bytes.fromhex(key), {}
    for file in kept:
        size, root = checkpoint(open(file, encoding="utf-8").read(), key)
        held.setdefault(size, []).append(root)
    peaks, count, covered = [], 0, 0  # peaks: (leaves, hash)
    for line in open(export, encoding="utf-8", newline="\n"):
        line = line.rstrip("\n")
        kind = json.loads(line)
        if kind["line"] == "signed":
            size, root = checkpoint(kind["note"], key)
            held.setdefault(size, []).append(root)
            covered = max(covered, size)
        elif kind["line"] in ("leaf", "entry"):
            start = '{"line":"leaf","hash":"%s","entry":' % kind.get("hash")
            text = line[len(start) : -1] if kind["line"] == "leaf" else kind["text"]
            count += 1
            if json.loads(text)["seq"] != count:
                raise SystemExit(f"bad: entry {count} is not where it belongs")
            leaf = hashlib.sha256(b"\0" + text.encode()).digest()
            if kind["line"] == "leaf" and leaf.hex() != kind["hash"]:
                raise SystemExit(f"bad: entry {count} was changed")
            peaks.append((1, leaf))
            while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
                (n, right), (_, left) = peaks.pop(), peaks.pop()
                peaks.append((2 * n, hashlib.sha256(b"\1" + left + right).digest()))
        root = None
        for _, peak in reversed(peaks):
            root = peak if root is None else hashlib.sha256(b"\1" + peak + root).digest()
        if any(other != root for other in held.pop(count, [])):
            raise SystemExit(f"bad: what a checkpoint covers up to entry {count} was replaced")
    if held:
        raise SystemExit(f"bad: the log ends at entry {count}, a checkpoint covers {max(held)}")
    if covered < count or not count:
        raise SystemExit(f"bad: of {count} entries {covered} are signed")
    print(f"good: {count} entries")


if __name__ == "__main__":
    main(*sys.argv[1:])
