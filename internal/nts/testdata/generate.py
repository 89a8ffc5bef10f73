#!/usr/bin/env python3
"""Writes packets.json next to itself: NTS requests, replies, and cookies in ntpd-rs's layout, put together here from
RFC 8915 and sealed by python-cryptography (OpenSSL). Deterministic: running it again must change nothing.

    pip install cryptography && python3 generate.py
"""
import json
import os
import random
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

r = random.Random(8915)
KEY_SIZE = {15: 32, 16: 48, 17: 64, 30: 16}


def field(kind, value):
    value += bytes(-len(value) % 4)
    return struct.pack(">HH", kind, 4 + len(value)) + value


def seal(algorithm, key, nonce, plaintext, ad):
    if algorithm == 30:
        return AESGCMSIV(key).encrypt(nonce, plaintext, ad)
    return AESSIV(key).encrypt(plaintext, [ad, nonce])


def authenticator(algorithm, key, nonce, plaintext, packet):
    sealed = seal(algorithm, key, nonce, plaintext, packet)
    return field(0x0404, struct.pack(">HH", len(nonce), len(sealed)) + nonce + sealed + bytes(-len(sealed) % 4))


def exchange(algorithm, held, cookie_size):
    size = KEY_SIZE[algorithm]
    c2s, s2c, uid = r.randbytes(size), r.randbytes(size), r.randbytes(32)
    cookies = [r.randbytes(cookie_size) for _ in range(held)]
    n = 12 if algorithm == 30 else 16
    header = bytes([0x23, 0, 6, 0x20]) + bytes(36) + r.randbytes(8)
    request = header + field(0x0104, uid) + field(0x0204, cookies[0])
    for _ in range(8 - held):
        request += field(0x0304, bytes(cookie_size))
    nonce = r.randbytes(n)
    request += authenticator(algorithm, c2s, nonce, b"", request)
    fresh = [r.randbytes(cookie_size) for _ in range(9 - held)]
    reply = bytes([0x24, 1, 6, 0xE8]) + r.randbytes(20) + header[40:48] + r.randbytes(16) + field(0x0104, uid)
    inner = b"".join(field(0x0204, c) for c in fresh)
    reply += authenticator(algorithm, s2c, r.randbytes(n), inner, reply)
    return {
        "algorithm": algorithm, "c2s": c2s.hex(), "s2c": s2c.hex(), "uid": uid.hex(), "nonce": nonce.hex(),
        "cookies": [c.hex() for c in cookies], "request": request.hex(), "reply": reply.hex(),
        "fresh": [c.hex() for c in fresh],
    }


def ntpd_rs(algorithm):
    keys = [r.randbytes(64) for _ in range(3)]
    offset, primary, size = 0xFFFFFFFE, 2, KEY_SIZE[algorithm]
    s2c, c2s = r.randbytes(size), r.randbytes(size)
    file = struct.pack(">QIII", 1_700_000_000, offset, primary, len(keys)) + b"".join(keys)
    cookies = []
    for i, key in enumerate(keys):
        nonce = r.randbytes(16)
        sealed = AESSIV(key).encrypt(struct.pack(">H", algorithm) + s2c + c2s, [b"", nonce])
        cookies.append(struct.pack(">IH", (offset + i) & 0xFFFFFFFF, len(sealed)) + nonce + sealed)
    return {"algorithm": algorithm, "c2s": c2s.hex(), "s2c": s2c.hex(), "file": file.hex(),
            "cookies": [c.hex() for c in cookies]}


def main():
    out = {
        "exchanges": [exchange(a, held, size) for a in KEY_SIZE for held, size in ((8, 104), (5, 100), (1, 64))],
        "ntpd-rs": [ntpd_rs(15), ntpd_rs(17)],
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packets.json")
    with open(path, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


main()
