"""The ports of an installation, each free before anything is started."""

import errno
import socket
from urllib.parse import urlsplit

import psutil

from shared.core.config import Misconfigured, settings

LOCAL = "127.0.0.1"


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def addresses() -> dict[str, str]:
    """Setting: where that part is."""
    given = settings()
    return {
        "BULKHEAD_TENANT_URL": given.tenant_url,
        "BULKHEAD_ADMIN_URL": given.admin_url,
        "BULKHEAD_SANDBOX_URL": given.sandbox_url,
    }


def require_free() -> None:
    """Raises Misconfigured, with the setting that moves the part elsewhere."""
    for setting, url in addresses().items():
        _require(port_of(url), setting, f"{setting}=http://localhost:{_other(port_of(url))}")
    _require(
        settings().mailbox_port,
        "the mailbox's SMTP, always 23 above BULKHEAD_SANDBOX_URL",
        f"BULKHEAD_SANDBOX_URL=http://localhost:{_other(port_of(settings().sandbox_url))}",
    )


def _require(port: int, part: str, instead: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except OSError as problem:
            if problem.errno == errno.EACCES:
                raise Misconfigured(f"port {port} ({part}) needs root. Set for example {instead}") from None
            raise Misconfigured(
                f"port {port} ({part}) is taken{_holder(port)}. Stop that, or set for example {instead}"
            ) from None


def _holder(port: int) -> str:
    try:
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f" by {psutil.Process(one.pid).name()} (process {one.pid})"
    except psutil.Error:
        pass  # another user's: the system does not say
    return ""


def _other(port: int) -> int:
    return port + 1000 if port < 60_000 else port - 1000
