"""Addresses in settings: origins as browsers write them, and what production refuses. Messages never hold a URL."""

import ipaddress
import re
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
REDIS_SCHEMES = ("redis", "rediss", "unix")
DEFAULT_PORTS = {"http": 80, "https": 443}
# Names that no public name server answers.
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc", ".test")
UNENCRYPTED_SSL_MODES = ("disable", "allow")


def normalize_origin(value: str) -> str:
    """The origin as browsers send it: lower-case, without the scheme's own port. Raises ValueError for anything else.

    https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
    """
    parts = urlsplit(value.strip())
    port = parts.port  # raises ValueError for an invalid port
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "*" in value:
        raise ValueError("must be an origin such as https://app.example.com, without a wildcard")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an origin only: scheme, host and port")
    host = f"[{ipaddress.ip_address(parts.hostname)}]" if ":" in parts.hostname else parts.hostname
    if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host):
        raise ValueError("must have a host of ASCII letters, digits, dots and hyphens (xn--… for others)")
    return f"{parts.scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")


def normalize_domain(value: str) -> str:
    """In lower case, without a final dot. Raises ValueError for what isn't the name of a domain."""
    domain = value.strip().lower().rstrip(".")
    if not re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", domain):
        raise ValueError("must be a domain such as example.com, without scheme, port and wildcard")
    return domain


def find_public_origin_problem(origin: str) -> str:
    """Why this origin can't be a public one, as the end of a sentence that begins with the setting; or ""."""
    parts = urlsplit(origin)
    host = (parts.hostname or "").rstrip(".")
    next_step = "Set the public https address, such as https://app.example.com."
    if parts.scheme != "https":
        return f"must be the public https address: cookies need TLS. {next_step}"
    if host == "localhost" or host.endswith(".localhost"):
        return f"must be the public https address, and this is the machine itself. {next_step}"
    if _is_ip_address(host):
        return f"must be the public https address with a name, and this is an IP address. {next_step}"
    return ""


def find_storage_url_problem(origin: str) -> str:
    """What production refuses in the address of a bucket's server, as a sentence; or ""."""
    parts = urlsplit(origin)
    if parts.scheme == "https" or is_private_host(parts.hostname or ""):
        return ""
    return (
        "BULKHEAD_FILES_BUCKET_URL is http:// to a public host: files would travel unencrypted. Use https://."
    )


def is_same_host(first_origin: str, second_origin: str) -> bool:
    """Browsers keep cookies of names with and without a final dot apart, but it is one machine and one site."""
    first_host, second_host = (
        (urlsplit(origin).hostname or "").rstrip(".") for origin in (first_origin, second_origin)
    )
    return first_host == second_host


def check_database_url(value: str) -> None:
    """Raises ValueError unless this is an address of a Postgres."""
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in DATABASE_SCHEMES:
        raise ValueError(
            "must be the address of a Postgres, such as postgresql://user:password@host/bulkhead"
        )


def find_database_url_problems(name: str, value: str) -> list[str]:
    """What production refuses in the database URL of the setting `name`, one sentence each."""
    url = make_url(value)
    problems = []
    hosts = _list_database_hosts(url)
    is_local = all(not host or host.startswith("/") for host in hosts)
    if not url.password and not is_local and not {"passfile", "sslcert"} & url.query.keys():
        problems.append(
            f"{name} has no password: a server that lets its user in without one lets everyone in."
            " Write postgresql://user:password@host/database."
        )
    if url.query.get("sslmode") in UNENCRYPTED_SSL_MODES and not all(is_private_host(host) for host in hosts):
        problems.append(
            f"{name} has sslmode={url.query['sslmode']} and a public host: passwords and data would travel unencrypted."
            " Use sslmode=verify-full with sslrootcert, or at least sslmode=require."
        )
    return problems


def is_same_login(first_url: str, second_url: str) -> bool:
    """Whether both URLs name the same user and the same database, on whatever server."""
    first, second = make_url(first_url), make_url(second_url)
    return (first.username, first.database) == (second.username, second.database)


def check_redis_url(value: str) -> None:
    """Raises ValueError unless this is an address of a Redis."""
    try:
        url = urlsplit(value)
        is_usable = url.scheme in REDIS_SCHEMES and bool(
            url.path if url.scheme == "unix" else url.hostname and (url.port or 1)
        )
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError("must be the address of a Redis: rediss://:password@host:6379/0 (TLS) or redis://…")


def find_redis_url_problem(value: str) -> str:
    """A sentence, or ""."""
    url = urlsplit(value)
    if url.scheme == "redis" and not is_private_host(url.hostname or ""):
        return (
            "REDIS_URL is redis:// with a public host: sessions and the password would travel unencrypted."
            " Use rediss:// (TLS), or a Redis in the private network by its private name or address."
        )
    return ""


def is_private_host(host: str) -> bool:
    """Whether the name or address is of this machine or of a private network. Names are not looked up."""
    host = host.strip("[]").rstrip(".").lower()
    if not host or host.startswith("/"):  # a socket of this machine
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_SUFFIXES)


def parse_targets(value: str) -> list[tuple[str, int]]:
    """Host and port of each "host:port", separated by commas. Raises ValueError."""
    targets = []
    for text in filter(None, (part.strip() for part in value.split(","))):
        parts = urlsplit(f"//{text}")
        if not parts.hostname or not parts.port or parts.path or parts.username:
            raise ValueError("must be host:port pairs, separated by commas, such as localhost:9000")
        targets.append((parts.hostname, parts.port))
    return targets


def is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _list_database_hosts(url: URL) -> list[str]:
    """One or several, as libpq takes them; "" is the socket of this machine."""
    hosts = url.query.get("hostaddr") or url.query.get("host") or url.host or ""
    return [host for each in ((hosts,) if isinstance(hosts, str) else hosts) for host in each.split(",")]


def _is_ip_address(host: str) -> bool:
    """Browsers take every host whose last part is a number for an IPv4 address, such as 127.1 and 0x7f000001."""
    last_part = host.rpartition(".")[2]
    return ":" in host or last_part.isdigit() or re.fullmatch("0x[0-9a-f]*", last_part) is not None
