"""A customer's token issuer: its keys, what it publishes, and the tokens that it signs. Nothing leaves the process."""

import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from shared.api_keys import issuers
from shared.core.context import Ctx
from shared.tenancy import signing_key_fetch, signing_keys
from tests.conftest import Person

ISSUER, AUDIENCE = "https://id.acme.example/", "https://api.bulkhead.example"
URL = "https://id.acme.example/jwks.json"
TENANT_CLAIM = "organisation"

AnyKey = RSAKey | ECKey | OKPKey


@cache
def make_key(algorithm: str, key_id: str = "first") -> AnyKey:
    parameters: Any = {"kid": key_id}
    if algorithm in ("RS256", "PS256"):
        return RSAKey.generate_key(2048, parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return ECKey.generate_key("P-256", parameters)


@dataclass
class TokenIssuer:
    """`tenant_id`: that its tokens name. `fetches` counts how often its keys were asked for."""

    tenant_id: str
    keys: list[AnyKey] = field(default_factory=lambda: [make_key("ES256")])
    is_away: bool = False
    fetches: int = 0

    def publish_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This issuer answers in the place of the network."""

        async def fetch(url: str) -> bytes:
            assert url == URL
            self.fetches += 1
            if self.is_away:
                raise signing_key_fetch.FetchFailed("away")
            return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

        signing_keys._known.clear()
        monkeypatch.setattr(signing_key_fetch, "fetch", fetch)

    def sign(
        self,
        *,
        key: Any = None,
        header: dict[str, Any] | None = None,
        algorithm: str = "ES256",
        **claims: Any,
    ) -> str:
        """A token that is right in everything but the changed claims. None takes a claim away."""
        moment = int(time.time())
        all_claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "zoe@acme.example",
            "iat": moment,
            "exp": moment + 300,
            TENANT_CLAIM: self.tenant_id,
            **claims,
        }
        key = key or self.keys[0]
        registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        return jwt.encode(
            {"alg": algorithm, "kid": key.kid, **(header or {})},
            {name: value for name, value in all_claims.items() if value is not None},
            key,
            registry=registry,
        )


def build_request(**changed: Any) -> issuers.IssuerRequest:
    values: dict[str, Any] = {
        "name": "Company sign-in",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_url": URL,
        "algorithms": ["ES256"],
        "tenant_claim": TENANT_CLAIM,
        "role": "member",
    }
    return issuers.IssuerRequest(**{**values, **changed})


async def add_issuer(person: Person, **changed: Any) -> issuers.IssuerView:
    """Tokens of it are accepted in this person's tenant from now on."""
    async with person.ctx() as ctx:
        return await create(ctx, **changed)


async def create(ctx: Ctx, **changed: Any) -> issuers.IssuerView:
    return await issuers.create(ctx, build_request(**changed))
