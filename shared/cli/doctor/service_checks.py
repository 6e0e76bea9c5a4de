"""Redis and the mail server: whether they answer, encrypted where the settings say so. Nothing is stored or sent."""

import smtplib
import ssl
from collections.abc import Iterator

import redis

from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.core.config import settings
from shared.jobs import mail

TIMEOUT_S = 3


def check_redis() -> Iterator[CheckResult]:
    url = settings().redis_url
    if url is None:
        yield ok("redis", "REDIS_URL is not set: one process of each app, with its state in memory.")
        return
    try:
        with redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as problem:
        yield failed(
            "redis",
            f"Redis doesn't answer ({type(problem).__name__}).",
            "Start it, or correct address and password in REDIS_URL.",
        )
        return
    yield ok("redis", "It answers.")


def check_smtp() -> Iterator[CheckResult]:
    """Connects and signs in as the worker does. Mailgun's API has no question that sends nothing."""
    if not isinstance(mail.read_transport(), mail.SmtpTransport):
        yield ok("mail", "Mail goes to Mailgun's HTTP API, which is not asked.")
        return
    server = mail.read_smtp_server()
    place = f"{server.host}:{server.port}"
    try:
        with _connect(server) as client:
            if server.user:
                client.login(server.user, server.password)
            client.noop()
    except smtplib.SMTPAuthenticationError:
        yield failed(
            "mail", f"{place} refuses the user or the password.", "Correct user and password in SMTP_URL."
        )
    except smtplib.SMTPNotSupportedError:
        yield failed(
            "mail",
            f"{place} has no STARTTLS or takes no password, so that no mail is sent.",
            "Use smtps:// and its port in SMTP_URL, or a server that has it.",
        )
    except ssl.SSLError:
        yield failed(
            "mail",
            f"{place} has no valid certificate for its name, or no TLS at that port.",
            "Use smtp:// with port 587 or smtps:// with port 465, and the name of its certificate.",
        )
    except (OSError, smtplib.SMTPException) as problem:
        yield _describe_missing_server(place, problem)
    else:
        yield ok("mail", f"{place} answers, {'with' if server.is_encrypted else 'without'} encryption.")


def _describe_missing_server(place: str, problem: Exception) -> CheckResult:
    text = f"No mail server answers at {place} ({type(problem).__name__})."
    if settings().smtp_url is None:
        return warning("mail", text, "This is the mailbox stand-in: `bulkhead up` starts it.")
    return failed(
        "mail", text, "Start it, or correct the address in SMTP_URL; jobs are tried again for three days."
    )


def _connect(server: mail.SmtpServer) -> smtplib.SMTP:
    if server.uses_tls:
        return smtplib.SMTP_SSL(
            server.host, server.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
    client = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    try:
        if server.uses_starttls:
            client.starttls(context=ssl.create_default_context())
    except BaseException:
        client.close()
        raise
    return client
