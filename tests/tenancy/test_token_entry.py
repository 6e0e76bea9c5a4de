"""Tokens of customers' own issuers: what lets one in, as whom, and what is refused."""

import base64
import json
import ssl
import time
from collections import OrderedDict
from typing import Any

import httpx
import pytest
from joserfc.jwk import OctKey

from shared.api_keys import issuers
from shared.api_keys.issuers import MappedRole
from shared.core.errors import DomainError, Refused, Unavailable
from shared.tenancy import invitations, members, signing_key_fetch, signing_keys, token_entry
from shared.tenancy.key_entry import enter_key
from shared.tenancy.token_entry import authenticate_token
from tests.conftest import Cast
from tests.support import token_issuer
from tests.support.token_issuer import TokenIssuer, add_issuer, build_request, make_key


@pytest.fixture
def issuer(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> TokenIssuer:
    acme_issuer = TokenIssuer(cast.acme)
    acme_issuer.publish_to(monkeypatch)
    return acme_issuer


async def get_reason(text: str) -> str:
    try:
        await authenticate_token(text)
    except DomainError as refusal:
        return refusal.reason
    return "works"


async def test_token_acts_as_its_subject_with_the_mapped_role(cast: Cast, issuer: TokenIssuer) -> None:
    row = await add_issuer(cast.ann)
    admission = await authenticate_token(issuer.sign())
    async with enter_key(admission) as ctx:
        assert (ctx.tenant_id, ctx.role, ctx.person_id) == (cast.acme, "member", "")
        assert ctx.actor.type == "external"
        assert ctx.actor_id == f"{row.id}:zoe@acme.example"
        assert ctx.actor.name == "zoe@acme.example (Company sign-in)"
        assert await members.list_members(ctx)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_token_is_accepted_with_each_algorithm(cast: Cast, issuer: TokenIssuer, algorithm: str) -> None:
    await add_issuer(cast.ann, algorithms=[algorithm])
    issuer.keys = [make_key(algorithm)]
    assert await get_reason(issuer.sign(algorithm=algorithm)) == "works"


NOW = int(time.time())
WRONG_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"iss": "https://id.evil.example/"}, "invalid_token"),
    "audience": ({"aud": "https://other.example"}, "invalid_token"),
    "audiences": ({"aud": ["https://other.example"]}, "invalid_token"),
    "no audience": ({"aud": None}, "invalid_token"),
    "expired": ({"exp": NOW - 120}, "token_expired"),
    "never expires": ({"exp": None}, "invalid_token"),
    "endless": ({"exp": float("inf")}, "invalid_token"),
    "true for a time": ({"exp": True}, "invalid_token"),
    "not yet valid": ({"nbf": NOW + 3_600}, "token_not_yet_valid"),
    "issued tomorrow": ({"iat": NOW + 86_400}, "token_not_yet_valid"),
    "no time of issue": ({"iat": None}, "invalid_token"),
    "no subject": ({"sub": None}, "invalid_token"),
    "invisible subject": ({"sub": "zoe\u202e"}, "invalid_token"),
    "no organisation": ({token_issuer.TENANT_CLAIM: None}, "invalid_token"),
    "organisation in another claim": ({token_issuer.TENANT_CLAIM: None, "org": "TENANT"}, "invalid_token"),
    "two organisations": ({"org": "ten_other"}, "invalid_token"),
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
async def test_token_with_a_wrong_claim_is_refused(cast: Cast, issuer: TokenIssuer, name: str) -> None:
    claims, reason = WRONG_CLAIMS[name]
    await add_issuer(cast.ann)
    changed: dict[str, Any] = {
        key: cast.acme if value == "TENANT" else value for key, value in claims.items()
    }
    assert await get_reason(issuer.sign(**changed)) == reason
    assert await get_reason(issuer.sign(exp=int(time.time()) - 30)) == "works"  # within the leeway


def unsigned(text: str, **header: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{part}.{text.split('.')[1]}."


async def test_token_without_a_signature_is_refused(cast: Cast, issuer: TokenIssuer) -> None:
    await add_issuer(cast.ann)
    text = issuer.sign()
    for header in ({"alg": "none"}, {"alg": "None"}, {"alg": "ES256", "kid": "first"}, {}):
        assert await get_reason(unsigned(text, **header)) == "invalid_token"
        assert await get_reason(unsigned(text, **header) + text.rpartition(".")[2][:-8]) == "invalid_token"


async def test_token_signed_with_the_public_key_as_a_secret_is_refused(
    cast: Cast, issuer: TokenIssuer
) -> None:
    await add_issuer(cast.ann)
    public = issuer.keys[0].as_pem(private=False)
    secret = OctKey.import_key(base64.urlsafe_b64encode(public).decode(), {"kid": "first"})
    assert await get_reason(issuer.sign(key=secret, algorithm="HS256")) == "invalid_token"


async def test_token_with_an_algorithm_that_its_issuer_does_not_list_is_refused(
    cast: Cast, issuer: TokenIssuer
) -> None:
    await add_issuer(cast.ann)
    issuer.keys = [make_key("EdDSA")]
    assert await get_reason(issuer.sign(algorithm="EdDSA")) == "invalid_token"


async def test_token_of_another_kind_is_refused(cast: Cast, issuer: TokenIssuer) -> None:
    await add_issuer(cast.ann)
    assert await get_reason(issuer.sign(header={"typ": "at+jwt"})) == "works"
    assert await get_reason(issuer.sign(header={"typ": "logout+jwt"})) == "invalid_token"
    text = issuer.sign().split(".")
    critical = base64.urlsafe_b64encode(b'{"alg":"ES256","crit":["exp"],"exp":1}').rstrip(b"=").decode()
    assert await get_reason(".".join((critical, *text[1:]))) == "invalid_token"


async def test_token_of_another_key_is_refused(cast: Cast, issuer: TokenIssuer) -> None:
    await add_issuer(cast.ann)
    forged = make_key("ES256", "forged").as_dict(private=True) | {"kid": "first"}
    key = type(issuer.keys[0]).import_key(forged)
    assert await get_reason(issuer.sign(key=key)) == "invalid_token"


async def test_issuer_of_another_tenant_lets_nobody_in(cast: Cast, issuer: TokenIssuer) -> None:
    """Gil sets up the issuer in Globex. Its tokens open Globex by naming it, and never Acme."""
    await add_issuer(cast.gil)
    assert await get_reason(issuer.sign()) == "invalid_token"
    admission = await authenticate_token(issuer.sign(organisation=cast.globex))
    assert admission.tenant.tenant_id == cast.globex


async def test_unknown_key_is_asked_for_once(
    cast: Cast, issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_issuer(cast.ann)
    second = make_key("ES256", "second")
    text = issuer.sign(key=second)
    for _ in range(3):
        assert await get_reason(text) == "unknown_signing_key"
    assert issuer.fetches == 1
    issuer.keys.append(second)
    monkeypatch.setattr(signing_keys, "RETRY_SECONDS", 0.0)
    assert await get_reason(text) == "works"
    assert issuer.fetches == 2
    assert await get_reason(text) == "works"
    assert issuer.fetches == 2


async def test_token_invites_nobody(cast: Cast, issuer: TokenIssuer) -> None:
    """Its rights can't be looked up when the invitation is accepted."""
    await add_issuer(cast.ann, role="admin")
    async with enter_key(await authenticate_token(issuer.sign())) as ctx:
        with pytest.raises(Refused):
            await invitations.invite(ctx, "zoe@acme.test", "member")
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, "zoe@acme.test", "member")
    async with enter_key(await authenticate_token(issuer.sign())) as ctx:
        with pytest.raises(Refused):
            await invitations.resend(ctx, invitation.id)


def test_tenant_with_many_issuers_evicts_no_key_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "_known", OrderedDict())
    monkeypatch.setattr(signing_keys, "MAX_ISSUERS", 10)
    quiet = signing_keys._get_published("ten_quiet", "jwi_1", "https://id.example")
    for number in range(30):
        signing_keys._get_published("ten_loud", f"jwi_{number}", "https://id.example")
    assert signing_keys._get_published("ten_quiet", "jwi_1", "https://id.example") is quiet
    assert len(signing_keys._known) == 10


async def test_keys_are_kept_for_a_bounded_time_while_the_issuer_is_away(
    cast: Cast, issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_issuer(cast.ann)
    assert await get_reason(issuer.sign()) == "works"
    issuer.is_away = True
    monkeypatch.setattr(signing_keys, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(signing_keys, "RETRY_SECONDS", 0.0)
    assert await get_reason(issuer.sign()) == "works"
    monkeypatch.setattr(signing_keys, "KEPT_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await authenticate_token(issuer.sign())


async def test_disabled_and_removed_issuer_let_nobody_in(cast: Cast, issuer: TokenIssuer) -> None:
    row = await add_issuer(cast.ann)
    async with cast.ann.ctx() as ctx:
        await issuers.change(ctx, row.id, build_request(enabled=False), version=row.version)
    assert await get_reason(issuer.sign()) == "invalid_token"
    async with cast.ann.ctx() as ctx:
        await issuers.change(ctx, row.id, build_request(), version=None)
    assert await get_reason(issuer.sign()) == "works"
    async with cast.ann.ctx() as ctx:
        await issuers.delete(ctx, row.id)
    assert await get_reason(issuer.sign()) == "invalid_token"


async def test_role_is_the_first_mapped_value_of_the_claim(cast: Cast, issuer: TokenIssuer) -> None:
    role_map = [MappedRole(value="it", role="admin"), MappedRole(value="staff", role="viewer")]
    await add_issuer(cast.ann, role="admin", role_claim="groups", role_map=role_map)
    assert (await authenticate_token(issuer.sign(groups=["staff", "it"]))).tenant.role.key == "admin"
    assert (await authenticate_token(issuer.sign(groups="staff"))).tenant.role.key == "viewer"
    for groups in (None, [], "owner", [["it"]], {"it": 1}):
        assert await get_reason(issuer.sign(groups=groups)) == "role_not_mapped"


def test_role_above_the_highest_one_has_only_its_permissions(cast: Cast) -> None:
    """As if the highest role had been reduced after the map was made."""
    highest = token_entry.repository.StandingRole("rol_small", "Small", False, "", ["home:read"], None, 1)
    admin = token_entry.repository.StandingRole("admin", "Admin", True, "", [], None, 1)
    standing = token_entry.repository.IssuerStanding(
        *("jwi_a", "A", "i", "a", "u", [], "t", "rol_small", "groups", [{"value": "it", "role": "admin"}]),
        *(cast.acme, "acme", "Acme", "active", "", 1, 1, {"rol_small": highest, "admin": admin}),
    )
    role = token_entry._choose_role(standing, {"groups": "it"})
    assert role.permissions == {"home:read"}


def answer(body: bytes, status: int = 200) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, stream=httpx.ByteStream(body)))


PUBLIC = "https://8.8.8.8/jwks.json"  # nobody is asked: the transport answers


async def test_keys_are_read_from_public_https_addresses_only() -> None:
    assert await signing_key_fetch.fetch(PUBLIC, answer(b"{}")) == b"{}"
    for url in (
        "http://8.8.8.8/jwks.json",
        "https://8.8.8.8:8443/jwks.json",
        "https://user@8.8.8.8/jwks.json",
        "https://127.0.0.1/jwks.json",
        "https://10.0.0.1/jwks.json",
        "https://169.254.169.254/latest",
        "https://[::1]/jwks.json",
        "https://[::ffff:10.0.0.1]/jwks.json",
        "https://localhost/jwks.json",
    ):
        with pytest.raises(signing_key_fetch.FetchFailed):
            await signing_key_fetch.fetch(url, answer(b"{}"))


async def test_huge_or_redirected_answer_is_no_key_set() -> None:
    huge = answer(b'{"keys": [' + b" " * signing_key_fetch.MAX_BYTES + b"]}")
    with pytest.raises(signing_key_fetch.FetchFailed, match="too much"):
        await signing_key_fetch.fetch(PUBLIC, huge)
    with pytest.raises(signing_key_fetch.FetchFailed, match="302"):
        await signing_key_fetch.fetch(PUBLIC, answer(b"", 302))


def test_key_set_with_unusable_keys_has_only_the_others() -> None:
    good = make_key("ES256").as_dict(private=False)
    entries = [
        *({}, 7, None, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        *({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "RSA", "n": "A" * 9_999, "e": "AQAB"}),
        *({"kty": "RSA", "n": "x" * 342, "e": "A" * 300}, {"kty": "OKP", "crv": "X", "x": ""}, good),
    ]
    assert len(signing_keys._read_keys(json.dumps({"keys": entries}).encode())) == 1
    for body in (b"", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000):
        with pytest.raises(signing_key_fetch.FetchFailed):
            signing_keys._read_keys(body)


async def test_published_keys_are_not_read_when_tls_breaks_after_the_handshake() -> None:
    def break_off(_: httpx.Request) -> httpx.Response:
        raise ssl.SSLError("bad record")  # as httpcore lets it pass

    with pytest.raises(signing_key_fetch.FetchFailed):
        await signing_key_fetch.fetch(PUBLIC, httpx.MockTransport(break_off))
