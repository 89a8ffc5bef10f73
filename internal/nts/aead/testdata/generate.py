#!/usr/bin/env python3
"""Writes vectors.json and tampered.json next to itself: messages that python-cryptography (OpenSSL) sealed, and
damaged ones that it refuses; an implementation that shares no code with ours. Deterministic: running it again must
change nothing.

    pip install cryptography && python3 generate.py
"""
import json
import os
import random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

KEY_SIZES = {15: 32, 16: 48, 17: 64, 30: 16, 31: 32}  # bytes, by AEAD identifier


def seal(algorithm, key, nonce, plaintext, ad):
    if algorithm >= 30:
        return AESGCMSIV(key).encrypt(nonce, plaintext, ad[0])
    return AESSIV(key).encrypt(plaintext, ad + [nonce] if nonce else ad)


def refuses(algorithm, key, nonce, sealed, ad):
    try:
        if algorithm >= 30:
            AESGCMSIV(key).decrypt(nonce, sealed, ad[0])
        else:
            AESSIV(key).decrypt(sealed, ad + [nonce] if nonce else ad)
    except InvalidTag:
        return True
    return False


def describe(algorithm, key, nonce, plaintext, ad, sealed):
    return {
        "algorithm": algorithm,
        "key": key.hex(),
        "nonce": nonce.hex(),
        "ad": [a.hex() for a in ad],
        "plaintext": plaintext.hex(),
        "sealed": sealed.hex(),
    }


def cases(r, algorithm, count):
    """Sealed messages of every length around the block borders first, then of lengths as NTS has them."""
    for i in range(count):
        key = r.randbytes(KEY_SIZES[algorithm])
        size = i if i < 70 else r.choice([68, 84, 104, 132, 168, 432, 832, 1000, r.randrange(1200)])
        plaintext = r.randbytes(size)
        if algorithm == 30:
            ad = [r.randbytes(r.choice([0, 1, 15, 16, 17, 48, 84, 188, r.randrange(400)]))]
            nonce = r.randbytes(12)
        else:
            ad = [r.randbytes(r.choice([0, 1, 15, 16, 17, 48, 84, 188, r.randrange(400)])) for _ in range(i % 4)]
            nonce = r.randbytes(r.choice([0, 1, 8, 12, 16, 16, 16, 17, 32]))
        yield describe(algorithm, key, nonce, plaintext, ad, seal(algorithm, key, nonce, plaintext, ad))


def flip(b, bit):
    b = bytearray(b)
    b[bit // 8] ^= 1 << bit % 8
    return bytes(b)


def damaged(r, algorithm, sealed, every_bit):
    """Every way in which a sealed message may arrive wrong: the tag is in front with SIV-CMAC, behind with GCM-SIV."""
    tag = len(sealed) - 16 if algorithm >= 30 else 0
    yield from (sealed[:n] for n in range(len(sealed)) if every_bit or n < 18 or n > len(sealed) - 18)
    yield from (sealed[n:] for n in range(1, 17))
    yield from (sealed + b"\0" * n for n in (1, 4, 16))
    yield from (b"\0" * n + sealed for n in (1, 16))
    yield sealed[:tag] + b"\0" * 16 + sealed[tag + 16 :]
    yield sealed[:tag] + b"\xff" * 16 + sealed[tag + 16 :]
    yield sealed[:tag] + bytes(b ^ 0xFF for b in sealed[tag : tag + 16]) + sealed[tag + 16 :]
    yield sealed[:tag] + sealed[tag + 8 : tag + 16] + sealed[tag : tag + 8] + sealed[tag + 16 :]
    for byte in range(16):
        yield flip(sealed, 8 * (tag + byte) + r.randrange(8))
    if every_bit:
        yield from (flip(sealed, 8 * tag + bit) for bit in range(128))
    if len(sealed) > 16:
        text = 16 if tag == 0 else 0
        yield flip(sealed, 8 * text)
        yield flip(sealed, 8 * (text + len(sealed) - 17) + 7)


def tampered(r, algorithm):
    for i, (size, ad_size) in enumerate(
        [(0, 0), (17, 5), (1, 0), (15, 16), (16, 0), (16, 17), (31, 1), (32, 0), (33, 48), (47, 15), (100, 188), (0, 1), (5, 0)]
    ):
        key, nonce = r.randbytes(KEY_SIZES[algorithm]), r.randbytes(12 if algorithm >= 30 else [16, 1, 12, 17][i % 4])
        plaintext, ad = r.randbytes(size), [r.randbytes(ad_size)]
        sealed = seal(algorithm, key, nonce, plaintext, ad)
        wrong = [bytes(b) for b in dict.fromkeys(damaged(r, algorithm, sealed, i < 2)) if b != sealed]
        assert all(refuses(algorithm, key, nonce, b, ad) for b in wrong)
        yield describe(algorithm, key, nonce, plaintext, ad, sealed) | {"refused": [b.hex() for b in wrong]}


def cmac(r):
    for size in (16, 24, 32):
        for length in [*range(50), 64, 65, 127, 128, 129, 255]:
            key, message = r.randbytes(size), r.randbytes(length)
            c = CMAC(AES(key))
            c.update(message)
            yield {"key": key.hex(), "message": message.hex(), "mac": c.finalize().hex()}


def write(name, vectors):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(v) for v in vectors) + "\n]\n")


def main():
    r = random.Random(8915)
    write("vectors.json", [v for a in (15, 16, 17, 30) for v in cases(r, a, 110)])
    write("tampered.json", [v for a in KEY_SIZES for v in tampered(random.Random(f"tampered {a}"), a)])
    write("cmac.json", cmac(random.Random(4493)))


main()
