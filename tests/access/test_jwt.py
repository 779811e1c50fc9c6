"""JSON Web Tokens: which are good, and why others are not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ImproperlyConfigured

from realtime.access.jwt import BadToken, Claims, read
from realtime.access.jwt.settings import read_settings
from realtime.apps import check_jwt
from tests.kit.tokens import ALGORITHMS, encoded, forged, key_text, pem, private_key, token

DAY = 24 * 3600
NOW = int(time.time())


def configure(settings: Any, algorithm: str, **more: Any) -> None:
    settings.STOMP_JWT = {"algorithms": [algorithm], "key": key_text(algorithm), **more}


def refused(text: str) -> str:
    """Return why a token is refused; nothing of it is in the reason."""
    with pytest.raises(BadToken) as info:
        read(text)
    parts = [part for part in text.split(".") if len(part) > 3]
    assert not any(part in f"{info.value} {info.value!r}" for part in parts)
    return info.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_says_who_it_is_and_until_when(settings: Any, algorithm: str) -> None:
    configure(settings, algorithm, leeway=0)
    claims = read(token(algorithm, exp=NOW + DAY, team="blue"))
    assert claims is not None
    assert (claims.name, claims.expires, claims.claims["team"]) == ("alice", NOW + DAY, "blue")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 60}, "the token has expired"),
        ({"exp": None}, "the token has no 'exp'"),
        ({"nbf": NOW + DAY}, "the token is not valid yet"),
        ({"iat": NOW + DAY}, "the token is not valid yet"),
        ({"aud": "others"}, "the token is for another audience"),
        ({"aud": None}, "the token has no 'aud'"),
        ({"iss": "https://evil.example"}, "the token comes from another issuer"),
        ({"iss": None}, "the token has no 'iss'"),
        ({"exp": "soon"}, "the token is malformed"),
        ({"exp": 10**400}, "the token has an impossible 'exp'"),
        ({"sub": None}, "the token has no name in 'sub'"),
        ({"sub": ""}, "the token has no name in 'sub'"),
        ({"sub": "a\0"}, "no database knows the name in 'sub'"),
        ({"sub": "\ud800"}, "no database knows the name in 'sub'"),
    ],
    ids="-".join,
)
def test_a_token_that_is_not_for_here_and_now_is_refused(
    settings: Any, algorithm: str, claims: dict[str, Any], reason: str
) -> None:
    configure(settings, algorithm, audience="gateway", issuer=["https://id.example"])
    good = {"aud": ["gateway", "others"], "iss": "https://id.example"}
    assert read(token(algorithm, **good)) is not None
    assert refused(token(algorithm, **{**good, **claims})) == reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_that_somebody_else_signed_or_changed_is_refused(
    settings: Any, algorithm: str
) -> None:
    configure(settings, algorithm)
    assert refused(token(algorithm, number=1)) == "the token has a wrong signature"
    header, payload, signature = token(algorithm).split(".")
    other = encoded(b'{"sub":"root","exp":9999999999}')
    assert refused(f"{header}.{other}.{signature}") == "the token has a wrong signature"
    for text in (f"{header}.{payload}.", f"{header}..{signature}", f"{header}.{payload}.!"):
        assert refused(text) in ("the token has a wrong signature", "the token is malformed")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 7, ["HS256"], "HS512", "RS512"])
def test_an_algorithm_that_is_not_accepted_is_refused(
    settings: Any, algorithm: str, alg: Any
) -> None:
    configure(settings, algorithm)
    text = forged({"alg": alg, "typ": "JWT"})
    assert refused(text) == "the token is signed by an algorithm that is not accepted"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("accepted", [ALGORITHMS, None], ids=["HS256 is accepted", "it is not"])
def test_a_public_key_is_no_secret(settings: Any, algorithm: str, accepted: Any) -> None:
    configure(settings, algorithm, algorithms=accepted or [algorithm])
    for secret in (key_text(algorithm), key_text(algorithm).strip()):
        reason = refused(forged({"alg": "HS256", "typ": "JWT"}, secret))
        assert reason.startswith("the token is signed")
    assert read(token(algorithm)) is not None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_serves_its_own_algorithm_whatever_is_accepted(settings: Any, algorithm: str) -> None:
    configure(settings, algorithm, algorithms=ALGORITHMS)
    for other in ALGORITHMS:
        if other != algorithm:
            assert refused(token(other)).startswith("the token is signed with an unknown key")


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "1234567890" * 4, "a.b", "a.b.c", "a.b.c.d.e", "...", "..", "é.b.c", "\ud800.b.c",
        f"{encoded(b'[1]')}.b.c", f"{encoded(b'[' * 99999)}.b.c", "!.!.!",
    ],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
def test_what_is_no_such_token_is_left_to_others(settings: Any, text: str) -> None:
    configure(settings, "RS256")
    assert read(text) is None


@pytest.mark.parametrize(
    "payload",
    [b"", b"no JSON", b"[]", b"[" * 20000, b'{"exp": NaN}', b'{"exp": Infinity}', b"\xff"],
)
def test_a_payload_that_makes_no_sense_is_refused(settings: Any, payload: bytes) -> None:
    configure(settings, "HS256")
    text = forged({"alg": "HS256"}, key_text("HS256"), payload)
    assert refused(text) == "the token is malformed"


@pytest.mark.parametrize(
    "header", [{"kid": 7}, {"kid": ["a"]}, {"crit": ["exp"]}, {"b64": False}, {"crit": 7}]
)
def test_a_header_that_makes_no_sense_is_refused(settings: Any, header: dict[str, Any]) -> None:
    configure(settings, "HS256")
    text = forged({"alg": "HS256", **header}, key_text("HS256"))
    assert refused(text) == "the token is malformed"


def test_keys_in_the_header_of_a_token_mean_nothing(settings: Any) -> None:
    configure(settings, "HS256")
    secret = "an attacker's own secret, long enough"
    own = {"kty": "oct", "k": encoded(secret.encode())}
    header = {"alg": "HS256", "jwk": own, "jku": "http://evil.example/", "kid": "../../dev/null"}
    assert refused(forged(header, secret)) == "the token has a wrong signature"


def test_without_the_setting_no_token_is_looked_at(settings: Any) -> None:
    settings.STOMP_JWT = None
    assert read(token()) is None


def test_clocks_may_differ_by_the_leeway(settings: Any) -> None:
    now = int(time.time())
    configure(settings, "HS256")
    claims = read(token("HS256", exp=now - 10, nbf=now + 10))
    assert claims is not None and claims.expires == now + 20
    settings.STOMP_JWT = {**settings.STOMP_JWT, "leeway": 5}
    assert refused(token("HS256", exp=now - 10)) == "the token has expired"


def test_a_token_that_is_valid_for_too_long_is_refused(settings: Any) -> None:
    now = int(time.time())
    configure(settings, "HS256", max_age=600)
    assert read(token("HS256", iat=now - 300, exp=now + 300)) is not None
    assert refused(token("HS256", iat=now - 300, exp=now + 301)) == (
        "the token is valid for too long"
    )
    assert refused(token("HS256", iat=None)) == "the token has no 'iat'"


@pytest.mark.parametrize(
    ("value", "name"),
    [("bob", "bob"), (42, "42"), (True, None), ([], None), ({}, None), ("", None)],
)
def test_the_name_may_be_in_another_claim(settings: Any, value: Any, name: str | None) -> None:
    configure(settings, "HS256", claim="account")
    text = token("HS256", account=value)
    if name is None:
        assert refused(text) == "the token has no name in 'account'"
    else:
        assert isinstance(claims := read(text), Claims) and claims.name == name


def test_a_key_may_be_in_a_file_and_on_one_line(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(key_text("RS256"))
    settings.STOMP_JWT = {"key_file": file}
    assert read(token()) is not None
    settings.STOMP_JWT = {"key": key_text("RS256").strip().replace("\n", "\\n")}
    assert read(token()) is not None


SMALL = pem(rsa.generate_private_key(65537, 1024))
OTHER_CURVE = pem(ec.generate_private_key(ec.SECP384R1()))
PRIVATE = (
    private_key("RS256")
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)  # fmt: skip
DAMAGED = key_text("RS256").replace("A", "!", 3)
SSH = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 somebody@example"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ([], "has to be a dict"),
        ({"kee": "x"}, "knows no kee"),
        ({}, "needs one of"),
        ({"key": "x" * 32, "jwks": "keys.json"}, "key and jwks"),
        ({"key": "x" * 32, "key_file": "key.pem"}, "key and key_file"),
        ({"key": ""}, "key has to be a text"),
        ({"key": b"x" * 32}, "key has to be a text"),
        ({"key": "x" * 31, "algorithms": ["HS256"]}, "32 bytes"),
        ({"key": "x" * 32}, "the key is for HS256"),
        ({"key": "x" * 32, "algorithms": ["none"]}, "no algorithm none"),
        ({"key": "x" * 32, "algorithms": ["RS256", "HS512"]}, "no algorithm HS512"),
        ({"key": "x" * 32, "algorithms": []}, "algorithms has to be"),
        ({"key": SMALL}, "2048"),
        ({"key": OTHER_CURVE, "algorithms": ["ES256"]}, "P-256"),
        ({"key": PRIVATE}, "private"),
        ({"key": DAMAGED}, "can't be read"),
        ({"key": SSH, "algorithms": ["HS256"]}, "public key is no secret"),
        ({"key_file": "/nowhere/key.pem"}, "key_file can't be read"),
        ({"jwks": "ftp://id.example/keys"}, "http or https"),
        ({"jwks": "file:///etc/keys"}, "http or https"),
        ({"jwks": "http://"}, "http or https"),
        ({"jwks": "https://user:secret@id.example/keys"}, "can't have a login"),
        ({"jwks": "keys.json", "leeway": -1}, "leeway"),
        ({"jwks": "keys.json", "leeway": True}, "leeway"),
        ({"jwks": "keys.json", "max_age": "1h"}, "max_age"),
        ({"jwks": "keys.json", "cache_seconds": float("nan")}, "cache_seconds"),
        ({"jwks": "keys.json", "claim": None}, "claim"),
        ({"jwks": "keys.json", "audience": [7]}, "audience"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_in_the_setting_is_found_by_the_checks_and_accepts_nobody(
    settings: Any, setting: Any, problem: str
) -> None:
    settings.STOMP_JWT = setting
    (error,) = check_jwt(None)
    assert error.id == "realtime.E011" and problem in error.msg
    with pytest.raises(ImproperlyConfigured) as info:
        read(token())
    assert problem in str(info.value)
    secrets = [setting[name] for name in ("key",) if name in setting] if setting else []
    assert not any(str(secret)[-20:] in error.msg for secret in secrets if secret)


def test_the_checks_find_a_missing_package(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(settings, "HS256")
    assert check_jwt(None) == []
    monkeypatch.setattr("realtime.access.jwt.settings.find_spec", lambda name: None)
    (error,) = check_jwt(None)
    assert "PyJWT" in error.msg


def test_no_key_is_shown(settings: Any) -> None:
    configure(settings, "HS256")
    shown = repr(read_settings(settings.STOMP_JWT)) + repr(read_settings(settings.STOMP_JWT).keys)
    assert key_text("HS256") not in shown
