"""The manifest of the queue and of mail. Tables of the queue belong to its library; each module declares its own tasks."""

from shared.core.registry import Module
from shared.jobs import models

MODULE = Module(name="jobs", models=[models.MailSuppression, models.UnsentMail])
