"""Accounts in two separate realms: users of tenants, and operators of the platform.

All tables here are global. `bulkhead_app` has no right on any operator table; `bulkhead_operator` may read `user`
and none of its credentials, sessions or factors. The operator tables mirror the user ones on purpose.
"""

from datetime import datetime

from sqlalchemy import ARRAY, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import now, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned


class User(SQLModel, table=True):
    __tablename__ = "user"

    id: str = Field(default_factory=lambda: new_id("usr"), primary_key=True)
    email: str = Field(unique=True)  # lower case
    name: str
    email_verified_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    disabled_at: datetime | None = Field(default=None, sa_type=timestamptz())
    sign_up_id: str = ""  # the sign-up that chose the password; "" once the address is verified
    time_zone: str = ""  # IANA name; "" until the person chose one


class Operator(Versioned, table=True):
    __tablename__ = "operator"

    id: str = Field(default_factory=lambda: new_id("opr"), primary_key=True)
    email: str = Field(unique=True)
    name: str
    role: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    disabled_at: datetime | None = Field(default=None, sa_type=timestamptz())


class _Credential(SQLModel):
    password_hash: str
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class _Session(SQLModel):
    id: str = Field(default_factory=lambda: new_id("ses"), primary_key=True)
    token_hash: str = Field(unique=True)
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    last_seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    idle_expires_at: datetime = Field(sa_type=timestamptz())
    expires_at: datetime = Field(sa_type=timestamptz())
    address: str = ""
    agent: str = ""
    factors: str = "password"  # "password" or "password+totp"
    proof: str = ""  # see `session_proofs`; "" for sessions that versions up to November 2026 made


class _Totp(SQLModel):
    sealed: bytes = Field(sa_type=LargeBinary)
    confirmed_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_step: int = 0  # a step is accepted once


class _RecoveryCode(SQLModel):
    id: str = Field(default_factory=lambda: new_id("rec"), primary_key=True)
    code_hash: str
    used_at: datetime | None = Field(default=None, sa_type=timestamptz())


class _Challenge(SQLModel):
    """The second step of a sign-in, between password and code."""

    id: str = Field(default_factory=lambda: new_id("cha"), primary_key=True)
    token_hash: str = Field(unique=True)
    expires_at: datetime = Field(sa_type=timestamptz())
    attempts: int = 0


class UserCredential(_Credential, table=True):
    __tablename__ = "user_credential"
    user_id: str = Field(primary_key=True, foreign_key="user.id")


class UserSession(_Session, table=True):
    __tablename__ = "user_session"
    user_id: str = Field(foreign_key="user.id")


class UserTotp(_Totp, table=True):
    __tablename__ = "user_totp"
    user_id: str = Field(primary_key=True, foreign_key="user.id")


class UserRecoveryCode(_RecoveryCode, table=True):
    __tablename__ = "user_recovery_code"
    user_id: str = Field(foreign_key="user.id")


class UserChallenge(_Challenge, table=True):
    __tablename__ = "user_challenge"
    user_id: str = Field(foreign_key="user.id")


class _Device(SQLModel):
    """A browser in which the person has signed in. Only the hash of its cookie is kept."""

    id: str = Field(default_factory=lambda: new_id("dev"), primary_key=True)
    token_hash: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    last_seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UserDevice(_Device, table=True):
    __tablename__ = "user_device"
    user_id: str = Field(foreign_key="user.id")


class OperatorDevice(_Device, table=True):
    __tablename__ = "operator_device"
    operator_id: str = Field(foreign_key="operator.id")


class FactorReset(SQLModel, table=True):
    """The way back after a lost second factor: requested by the user, started by an operator, done when it is due.

    Operators may start and cancel it; only a job of the users' realm completes it.
    """

    __tablename__ = "factor_reset"

    id: str = Field(default_factory=lambda: new_id("frs"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    requested_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    started_at: datetime | None = Field(default=None, sa_type=timestamptz())
    started_by: str = ""  # name of the operator
    due_at: datetime | None = Field(default=None, sa_type=timestamptz())
    cancelled_at: datetime | None = Field(default=None, sa_type=timestamptz())
    cancelled_by: str = ""  # who or what, in words
    completed_at: datetime | None = Field(default=None, sa_type=timestamptz())


class UserToken(SQLModel, table=True):
    """A link in an email, for one use and one purpose ("verify" or "reset"). The link itself is a signature."""

    __tablename__ = "user_token"

    id: str = Field(default_factory=lambda: new_id("tok"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    purpose: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    expires_at: datetime = Field(sa_type=timestamptz())
    used_at: datetime | None = Field(default=None, sa_type=timestamptz())
    sent_at: datetime | None = Field(default=None, sa_type=timestamptz())


class OperatorCredential(_Credential, table=True):
    __tablename__ = "operator_credential"
    operator_id: str = Field(primary_key=True, foreign_key="operator.id")


class OperatorSession(_Session, table=True):
    __tablename__ = "operator_session"
    operator_id: str = Field(foreign_key="operator.id")


class OperatorTotp(_Totp, table=True):
    __tablename__ = "operator_totp"
    operator_id: str = Field(primary_key=True, foreign_key="operator.id")


class OperatorRecoveryCode(_RecoveryCode, table=True):
    __tablename__ = "operator_recovery_code"
    operator_id: str = Field(foreign_key="operator.id")


class OperatorChallenge(_Challenge, table=True):
    __tablename__ = "operator_challenge"
    operator_id: str = Field(foreign_key="operator.id")


class OperatorKey(Versioned, table=True):
    """A key of an operator for `/api/operator/v1`. Revoked keys are kept, because the audit log names them."""

    __tablename__ = "operator_key"

    id: str = Field(default_factory=lambda: new_id("opk"), primary_key=True)
    operator_id: str = Field(foreign_key="operator.id")
    name: str
    secret_hash: str = Field(repr=False, unique=True)  # sha256 of the whole text, in hex
    hint: str  # the beginning and the end of the text
    previous_hash: str = Field(default="", repr=False)  # of the text that a rotation replaced
    previous_hint: str = ""
    previous_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())
    scopes: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))  # operator permissions
    networks: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))  # empty: from anywhere
    expires_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    last_used_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_used_address: str = ""
    revoked_at: datetime | None = Field(default=None, sa_type=timestamptz())
    revoked_by: str = ""


class OperatorIdempotencyKey(SQLModel, table=True):
    """As `api_keys.models.IdempotencyKey`, of requests with operators' keys."""

    __tablename__ = "operator_idempotency_key"

    id: str = Field(primary_key=True)
    request_digest: str
    status: int | None = None  # of the answer; None only inside the transaction of the request
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    body: bytes | None = Field(default=None, sa_type=LargeBinary)  # sealed with the realm's data key
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class PlatformKey(SQLModel, table=True):
    """Data key of a realm ("user" or "operator"): seals the TOTP seeds, which belong to no tenant."""

    __tablename__ = "platform_key"

    id: str = Field(primary_key=True)
    kek_id: int
    wrapped: bytes = Field(sa_type=LargeBinary)
