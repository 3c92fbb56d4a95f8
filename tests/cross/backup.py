"""The official client's backup of abuse tokens, written from its description and nothing else.

backup.py open PASSPHRASE < blob > json
backup.py seal PASSPHRASE < json > blob

base64(salt[16] | iv[12] | AES-256-GCM ciphertext | tag), key = PBKDF2-HMAC-SHA256(passphrase, salt, 600,000).
"""

import base64
import os
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC


def cipher(passphrase, salt):
    return AESGCM(PBKDF2HMAC(SHA256(), 32, salt, 600_000).derive(passphrase.encode()))


def unseal(text, passphrase):
    blob = base64.b64decode(text, validate=True)
    salt, iv, sealed = blob[:16], blob[16:28], blob[28:]
    return cipher(passphrase, salt).decrypt(iv, sealed, None)


def seal(plain, passphrase):
    salt, iv = os.urandom(16), os.urandom(12)
    return base64.b64encode(salt + iv + cipher(passphrase, salt).encrypt(iv, plain, None))


verb, passphrase = sys.argv[1:]
work = {"open": unseal, "seal": seal}[verb]
sys.stdout.buffer.write(work(sys.stdin.buffer.read(), passphrase))
