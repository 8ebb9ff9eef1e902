"""When a certificate or a token ends, read from the thing itself."""

from __future__ import annotations

import base64
import binascii
import json
import re

from cryptography import x509


class Unreadable(Exception):
    """It is neither PEM certificates nor a JSON Web Token that says when it ends. No message repeats any of it."""


#: A JSON Web Token (RFC 7519): three parts in base64url, of which the second holds the claims.
_TOKEN = re.compile(rb"[\w-]+\.([\w-]+)\.[\w-]*")


def expiry(content: bytes) -> float:
    """When the first of PEM certificates, or a JSON Web Token, ends; in seconds since the epoch.

    Raises:
        Unreadable: it is neither, or a token without an end.
    """
    content = content.strip()
    if b"-----BEGIN CERTIFICATE-----" in content:
        try:
            certificates = x509.load_pem_x509_certificates(content)
        except ValueError:
            raise Unreadable("a certificate in it is damaged") from None
        return min(one.not_valid_after_utc for one in certificates).timestamp()
    found = _TOKEN.fullmatch(content)
    if not found:
        raise Unreadable("it is neither a PEM certificate nor a JSON Web Token")
    try:
        claims = json.loads(base64.urlsafe_b64decode(found[1] + b"=" * (-len(found[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise Unreadable('it is a token without an end ("exp")') from None
