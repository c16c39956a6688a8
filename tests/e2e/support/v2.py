"""The other side of encrypted commands, with two libraries that nobody here wrote."""

import base64
import json
import os

from Cryptodome.Cipher import AES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FIELDS = {"nonce", "tag", "ciphertext"}


def b64(data):
    return base64.b64encode(data).decode()


def envelope(nonce, ciphertext, tag):
    return {"nonce": b64(nonce), "tag": b64(tag), "ciphertext": b64(ciphertext)}


def opened(sealed):
    """(nonce, ciphertext, tag) of an envelope, whose form is checked too."""
    assert set(sealed) == FIELDS, sealed
    return tuple(base64.b64decode(sealed[name], validate=True)
                 for name in ("nonce", "ciphertext", "tag"))


class WithCryptography:
    @staticmethod
    def seal(key, plain, nonce_size=12):
        nonce = os.urandom(nonce_size)
        encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        ciphertext = encryptor.update(plain) + encryptor.finalize()
        return envelope(nonce, ciphertext, encryptor.tag)

    @classmethod
    def encrypt(cls, key, payload, **options):
        return cls.seal(key, json.dumps(payload).encode(), **options)

    @staticmethod
    def decrypt(key, sealed):
        nonce, ciphertext, tag = opened(sealed)
        assert len(tag) == 16
        decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, tag)).decryptor()
        return json.loads(decryptor.update(ciphertext) + decryptor.finalize())


class WithPyCryptodome:
    @staticmethod
    def encrypt(key, payload, nonce_size=None):
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce_size and os.urandom(nonce_size))
        ciphertext, tag = cipher.encrypt_and_digest(json.dumps(payload).encode())
        return envelope(cipher.nonce, ciphertext, tag)

    @staticmethod
    def decrypt(key, sealed):
        nonce, ciphertext, tag = opened(sealed)
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
        return json.loads(cipher.decrypt_and_verify(ciphertext, tag))
