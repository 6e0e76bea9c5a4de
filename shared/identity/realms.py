"""The two realms: users of tenants, and operators. One code, two sets of tables, cookies and keys."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.core import db
from shared.identity import models


@dataclass(frozen=True, slots=True)
class Realm:
    name: str  # also the id of its platform key
    role: db.Role  # of the database
    cookie: str
    challenge_cookie: str
    idle: timedelta
    longest: timedelta
    factor_required: bool
    subject: type[Any] = field(repr=False)
    credential: type[Any] = field(repr=False)
    session: type[Any] = field(repr=False)
    totp: type[Any] = field(repr=False)
    recovery: type[Any] = field(repr=False)
    challenge: type[Any] = field(repr=False)

    @property
    def whose(self) -> str:
        """Name of the column that says whose a row is."""
        return f"{self.name}_id"


USER = Realm(
    name="user",
    role="app",
    cookie="__Host-bulkhead-tenant",
    challenge_cookie="__Host-bulkhead-mfa",
    idle=timedelta(hours=24),
    longest=timedelta(days=30),
    factor_required=False,
    subject=models.User,
    credential=models.UserCredential,
    session=models.UserSession,
    totp=models.UserTotp,
    recovery=models.UserRecoveryCode,
    challenge=models.UserChallenge,
)
OPERATOR = Realm(
    name="operator",
    role="operator",
    cookie="__Host-bulkhead-admin",
    challenge_cookie="__Host-bulkhead-admin-mfa",
    idle=timedelta(minutes=30),
    longest=timedelta(hours=12),
    factor_required=True,
    subject=models.Operator,
    credential=models.OperatorCredential,
    session=models.OperatorSession,
    totp=models.OperatorTotp,
    recovery=models.OperatorRecoveryCode,
    challenge=models.OperatorChallenge,
)
