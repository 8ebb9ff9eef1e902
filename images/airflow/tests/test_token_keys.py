"""A set of keys by which the api-server checks tokens while the key that signs them is replaced: docs/rotation.md."""

import base64
import json

import jwt
import pytest
from airflow.api_fastapi.auth.tokens import JWKS, JWTGenerator, JWTValidator

OLD, NEW, OTHER = "o" * 64, "n" * 64, "x" * 64


def token(secret, kid, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_KID", kid)
    return JWTGenerator(secret_key=secret, valid_for=60, audience="api").generate({"sub": "1"})


@pytest.fixture
def validator(tmp_path):
    def validator(**keys):
        path = tmp_path / "jwks.json"
        members = [
            {
                "kty": "oct",
                "alg": "HS512",
                "kid": kid,
                "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
            }
            for kid, secret in keys.items()
        ]
        path.write_text(json.dumps({"keys": members}))
        return JWTValidator(jwks=JWKS(url=str(path)), audience="api")

    return validator


def test_tokens_of_both_keys_are_accepted(validator, monkeypatch):
    both = validator(a=OLD, b=NEW)
    for secret, kid in ((OLD, "a"), (NEW, "b")):
        assert both.validated_claims(token(secret, kid, monkeypatch))["sub"] == "1"


@pytest.mark.parametrize(("secret", "kid"), [(OLD, "a"), (OTHER, "b")])
def test_a_key_that_was_taken_out_and_one_that_only_has_the_name_are_refused(validator, monkeypatch, secret, kid):
    with pytest.raises(jwt.InvalidTokenError):
        validator(b=NEW).validated_claims(token(secret, kid, monkeypatch))


def test_one_key_alone_refuses_what_another_signed(monkeypatch):
    with pytest.raises(jwt.InvalidTokenError, match="Signature verification failed"):
        JWTValidator(secret_key=NEW, audience="api").validated_claims(token(OLD, "a", monkeypatch))
