"""The password of a lab's superuser, as a server stores it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_ITERATIONS = 1
"""A random password cannot be guessed, however quick the hash is."""


def quick_verifier(password: str) -> str:
    """Return the SCRAM verifier of an ASCII password, which a server stores as it is.

    A server before 16 always makes one with 4,096 iterations, which each connection then repeats
    on both sides: a third of its time.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    keys = f"{_text(hashlib.sha256(client_key).digest())}:{_text(server_key)}"
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${keys}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
