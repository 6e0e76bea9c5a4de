"""Addresses that get no more mail, and the mails that were withheld from them. They belong to no tenant."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field, SQLModel

from shared.core.db import now, text_enum, timestamptz


class SuppressionCause(StrEnum):
    """Why an address gets no more mail. Stored."""

    COMPLAINT = "complaint"  # essential mails are still sent
    HARD_BOUNCE = "hard_bounce"  # nothing is sent


class MailSuppression(SQLModel, table=True):
    __tablename__ = "mail_suppression"

    id: str = Field(primary_key=True)  # the address, in lower case
    cause: SuppressionCause = Field(sa_type=text_enum(SuppressionCause))
    detail: str = ""  # in the mail provider's words
    suppressed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UnsentMail(SQLModel, table=True):
    __tablename__ = "unsent_mail"

    id: str = Field(primary_key=True)  # the Message-ID without the domain
    address: str
    template: str
    cause: str  # of the suppression at that time
    withheld_at: datetime = Field(default_factory=now, sa_type=timestamptz())
