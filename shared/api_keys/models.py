"""The tables of API keys, of answers that are kept by idempotency key, and of token issuers."""

from datetime import datetime

from sqlalchemy import ARRAY, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from shared.core.db import TenantRow, now, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned


class ApiKey(Versioned, TenantRow, table=True):
    """A key of a person or of a service account. Revoked keys are kept, because the audit log names them."""

    __tablename__ = "api_key"

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    name: str
    secret_hash: str = Field(repr=False)  # sha256 of the whole text, in hex
    hint: str  # the beginning and the end of the text
    previous_hash: str = Field(default="", repr=False)  # of the text that a rotation replaced
    previous_hint: str = ""
    previous_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())
    scopes: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))  # permissions
    user_id: str | None = Field(default=None, foreign_key="user.id")
    service_account_id: str | None = None
    networks: list[str] = Field(
        default_factory=list, sa_type=ARRAY(Text)
    )  # it works from; empty: from anywhere
    origins: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))  # of web pages that may use it
    expires_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    last_used_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_used_address: str = ""
    revoked_at: datetime | None = Field(default=None, sa_type=timestamptz())
    revoked_by: str = ""


class IdempotencyKey(TenantRow, table=True):
    """A request that was sent with an idempotency key, and its answer. `id` is a hash of actor, operation and key."""

    __tablename__ = "idempotency_key"

    id: str = Field(primary_key=True)
    request_digest: str
    status: int | None = None  # of the answer; None only inside the transaction of the request
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    body: bytes | None = Field(default=None, sa_type=LargeBinary)  # sealed
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class JwtIssuer(Versioned, TenantRow, table=True):
    """A customer's own issuer, whose JSON web tokens the API accepts."""

    __tablename__ = "jwt_issuer"

    id: str = Field(default_factory=lambda: new_id("jwi"), primary_key=True)
    name: str
    issuer: str  # the claim `iss`
    audience: str  # in the claim `aud`
    jwks_url: str
    algorithms: list[str] = Field(sa_type=ARRAY(Text))
    tenant_claim: str  # whose value is the id of this tenant
    role: str  # key of the highest role that a token can have
    role_claim: str = ""  # "": every token has the highest role
    # "value" of the role claim and "role" that it gives, in order of priority
    role_map: list[dict[str, str]] = Field(default_factory=list, sa_type=JSONB)
    enabled: bool = True
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
