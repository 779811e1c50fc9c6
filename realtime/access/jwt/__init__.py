"""
JSON Web Tokens: read and verify what another service signed; ``STOMP_JWT`` says which are good.

::

    token ──> claims.read ──> key_sets: the keys of a file or URL, cached and read anew
                  │            keys: one key, one algorithm, whatever a token says
                  └──> Claims: the user's name, and until when

Why so:

* The kind of a key decides by which algorithm it verifies, so that no token can have an RSA key
  taken for a secret.
* A key server that is away is no reason to refuse tokens of keys that are known.

May import ``conf``. PyJWT is needed only where ``STOMP_JWT`` is set.
"""

from .claims import BadToken, Claims, KeysUnavailable, read

__all__ = ["BadToken", "Claims", "KeysUnavailable", "read"]
