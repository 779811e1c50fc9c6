"""Key: what verifies JSON Web Tokens. What it is decides by which algorithm, never the token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

#: The algorithms that there are keys for.
ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")

#: What is shorter can be guessed: a secret, in bytes, and the modulus of RSA, in bits.
MIN_SECRET_BYTES: Final = 32
MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class Key:
    """
    A key for one algorithm.

    Args:
        value: A secret as bytes, or a public key of ``cryptography``.
        kid: The name by which tokens ask for it.
    """

    algorithm: str
    value: Any = field(repr=False)
    kid: str | None = None


class Keys(Protocol):
    """Where the key for a token comes from."""

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key with this name and for this algorithm, or None."""


@dataclass(frozen=True, slots=True)
class OneKey:
    """The only key; what a token calls it does not matter."""

    key: Key

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        return self.key if self.key.algorithm == algorithm else None


def key_of_text(text: str) -> Key:
    r"""
    Return the key that a text is: a public key or a certificate as PEM, in which a line may also
    end in ``\n`` as two characters; otherwise a secret.

    Raises:
        ValueError: With a text that does not contain it, if it is none or too short.
    """
    if "-----BEGIN" not in text:
        return Key("HS256", _check_secret(text.encode()))
    public = _public_key_of(text.replace("\\n", "\n"))
    return Key(_algorithm_of(public), public)


def keys_of_jwks(data: bytes) -> tuple[Key, ...]:
    """
    Return the keys of a JSON Web Key Set that verify signatures; others are left out.

    Raises:
        ValueError: If it is no such set.
    """
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("it is no JSON Web Key Set")
    return tuple(key for jwk in document["keys"] if (key := key_of_jwk(jwk)) is not None)


def key_of_jwk(jwk: Any) -> Key | None:
    """Return the key that a JSON Web Key is, or None: unknown, damaged, private, for other use."""
    from jwt.exceptions import PyJWTError

    try:
        value = _value_of_jwk(jwk)
        algorithm = "HS256" if isinstance(value, bytes) else _algorithm_of(value)
        fits = jwk.get("alg", algorithm) == algorithm and jwk.get("use", "sig") == "sig"
        fits = fits and "verify" in jwk.get("key_ops", ["verify"])
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Key(algorithm, value, jwk.get("kid")) if fits else None


def _value_of_jwk(jwk: dict[str, Any]) -> Any:
    from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

    if jwk["kty"] == "oct":
        return _check_secret(HMACAlgorithm.from_jwk(jwk))
    if "d" in jwk:
        raise ValueError("a private key")
    kinds: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    return kinds[jwk["kty"]].from_jwk(jwk)


def _check_secret(secret: bytes) -> bytes:
    """Return a secret, unless it is too short, or the public key of somebody in some format."""
    from jwt.algorithms import HMACAlgorithm
    from jwt.exceptions import InvalidKeyError

    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret for HS256 needs {MIN_SECRET_BYTES} bytes or more")
    try:
        return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ValueError("what looks like a public key is no secret; give it as PEM") from None


def _public_key_of(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if "PRIVATE KEY" in pem:
        raise ValueError("the key is private; the gateway needs the public one only")
    try:
        if "BEGIN CERTIFICATE" in pem:
            return load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the PEM of the key can't be read") from None


def _algorithm_of(public: Any) -> str:
    """Return the one algorithm that a public key is for."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(public, RSAPublicKey) and public.key_size >= MIN_RSA_BITS:
        return "RS256"
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        return "ES256"
    if isinstance(public, Ed25519PublicKey):
        return "EdDSA"
    raise ValueError(f"the key is none of RSA ({MIN_RSA_BITS} bits or more), P-256 and Ed25519")
