#!/usr/bin/env python3
"""Writes vectors.json next to itself: sealed messages made by python-cryptography (OpenSSL), an implementation
that shares no code with ours. Deterministic: running it again must change nothing.

    pip install cryptography && python3 generate.py
"""
import json
import os
import random

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

r = random.Random(8915)


def cases(algorithm, key_size, count):
    for i in range(count):
        key = r.randbytes(key_size)
        # Every length around the block borders first, then lengths as NTS has them.
        size = i if i < 70 else r.choice([68, 84, 104, 132, 168, 432, 832, 1000, r.randrange(1200)])
        plaintext = r.randbytes(size)
        if algorithm == 30:
            ad = [r.randbytes(r.choice([0, 1, 15, 16, 17, 48, 84, 188, r.randrange(400)]))]
            nonce = r.randbytes(12)
            sealed = AESGCMSIV(key).encrypt(nonce, plaintext, ad[0])
        else:
            ad = [r.randbytes(r.choice([0, 1, 15, 16, 17, 48, 84, 188, r.randrange(400)])) for _ in range(i % 4)]
            nonce = r.randbytes(r.choice([0, 1, 8, 12, 16, 16, 16, 17, 32]))
            sealed = AESSIV(key).encrypt(plaintext, ad + [nonce] if nonce else ad)
        yield {
            "algorithm": algorithm,
            "key": key.hex(),
            "nonce": nonce.hex(),
            "ad": [a.hex() for a in ad],
            "plaintext": plaintext.hex(),
            "sealed": sealed.hex(),
        }


def main():
    vectors = []
    for algorithm, key_size in ((15, 32), (16, 48), (17, 64), (30, 16)):
        vectors += cases(algorithm, key_size, 110)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(v) for v in vectors) + "\n]\n")


main()
