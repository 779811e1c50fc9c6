"""JSON Web Tokens as an identity provider makes them, and as an attacker does."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
SECRETS = {0: "correct horse battery staple, twice", 1: "another secret of at least 32 bytes"}


@lru_cache
def private_key(algorithm: str, number: int = 0) -> Any:
    """Return a key to sign with; there are several of each kind."""
    match algorithm:
        case "HS256":
            return SECRETS[number]
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def key_text(algorithm: str, number: int = 0) -> str:
    """Return what ``STOMP_JWT`` has as ``key``."""
    key = private_key(algorithm, number)
    return key if isinstance(key, str) else pem(key)


def pem(key: Any) -> str:
    """Return the public half of a key."""
    form = PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(Encoding.PEM, form).decode())


def jwk(algorithm: str, kid: str | None, number: int = 0, **more: Any) -> dict[str, Any]:
    """Return a public key as a JSON Web Key."""
    kinds: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    public = private_key(algorithm, number).public_key()
    return {**json.loads(kinds[algorithm].to_jwk(public)), "kid": kid, **more}


def token(algorithm: str = "RS256", number: int = 0, kid: str | None = None, **claims: Any) -> str:
    """Return a token of alice for an hour; a claim that is None is left out."""
    now = int(time.time())
    all_claims = {"sub": "alice", "exp": now + 3600, "iat": now, **claims}
    said = {name: value for name, value in all_claims.items() if value is not None}
    headers = {"kid": kid} if kid is not None else None
    return jwt.encode(said, private_key(algorithm, number), algorithm, headers)


def forged(header: dict[str, Any], secret: str = "", payload: bytes | None = None) -> str:
    """Return a token with any header and payload, signed by HMAC with any secret, or not at all."""
    claims = json.dumps({"sub": "root", "exp": int(time.time()) + 60}).encode()
    parts = [encoded(json.dumps(header).encode()), encoded(claims if payload is None else payload)]
    signature = hmac.digest(secret.encode(), ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, encoded(signature) if secret else ""])


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
