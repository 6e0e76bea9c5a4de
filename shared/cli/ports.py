"""The ports of an installation, each free before anything is started."""

import errno
import socket
from urllib.parse import urlsplit

import psutil

from shared.core.config import ConfigurationError, settings

LOCAL = "127.0.0.1"


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def urls_by_setting() -> dict[str, str]:
    """Setting: where that part is."""
    config = settings()
    return {
        "BULKHEAD_TENANT_URL": config.tenant_url,
        "BULKHEAD_ADMIN_URL": config.admin_url,
        "BULKHEAD_SANDBOX_URL": config.sandbox_url,
    }


def require_free() -> None:
    """Raises ConfigurationError, with the setting that moves the part elsewhere."""
    for setting, url in urls_by_setting().items():
        _require_free_port(
            port_of(url), setting, f"{setting}=http://localhost:{_alternative_port(port_of(url))}"
        )
    _require_free_port(
        settings().mailbox_port,
        "the mailbox's SMTP, always 23 above BULKHEAD_SANDBOX_URL",
        f"BULKHEAD_SANDBOX_URL=http://localhost:{_alternative_port(port_of(settings().sandbox_url))}",
    )


def _require_free_port(port: int, part: str, suggestion: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except OSError as problem:
            if problem.errno == errno.EACCES:
                raise ConfigurationError(
                    f"port {port} ({part}) needs root. Set for example {suggestion}"
                ) from None
            raise ConfigurationError(
                f"port {port} ({part}) is taken{_describe_holder(port)}. Stop that, or set for example {suggestion}"
            ) from None


def _describe_holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # another user's: the system does not say
    return ""


def _alternative_port(port: int) -> int:
    return port + 1000 if port < 60_000 else port - 1000
