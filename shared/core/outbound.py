"""HTTP to addresses that customers choose, such as webhook endpoints.

Only https on port 443 of public addresses is reached. The address is checked when the socket opens, and that address is
dialled, so a host can't change it between check and use. There are no redirects, proxies or cookies, and an answer is
bounded in size and time. `BULKHEAD_OUTBOUND_ALLOW` exempts hosts of tests and of the demo.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network

import httpcore
import httpx

from shared.core import look_ups
from shared.core.config import settings
from shared.core.look_ups import Address

PORT = 443
TOTAL_TIMEOUT_S, CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 15.0, 5.0, 10.0
REFUSAL_TIME_S = 2.5  # of every check of a host that is refused
MAX_BODY_BYTES = 16_384  # of an answer; more is not read
MAX_IDLE_CONNECTIONS, IDLE_S = 500, 15.0
MAX_ADDRESSES = 2  # of one host that are dialled
GLOBAL_V6 = ip_network("2000::/3")
# Public by `ipaddress` of some Python, but reserved or routed to private networks: protocol assignments, 6to4 relays,
# Teredo and others, 6to4, documentation.
REFUSED_NETWORKS = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"))
)

AllowedTarget = tuple[str, int]  # host and port


class OutboundProblem(StrEnum):
    """Why there is no answer. Stored words."""

    NONE = ""
    BAD_ANSWER = "bad_answer"  # no HTTP
    HOST_UNUSABLE = (
        "host_unusable"  # unknown or not public: nobody learns which, or they would learn internal names
    )
    INVALID_URL = "invalid_url"
    LOOK_UP_WAITS = "look_up_waits"  # the host wasn't looked up: too many others were
    NO_CONNECTION = "no_connection"
    TIMEOUT = "timeout"
    TLS = "tls"


class TargetRefused(Exception):
    """We don't send there. Nothing was sent."""

    def __init__(self, problem: OutboundProblem, detail: str) -> None:
        self.problem = problem
        super().__init__(detail)


class AddressRefused(httpcore.ConnectError):
    """The host has an address that is not public."""


class HostUnknown(httpcore.ConnectError):
    """The host has no address."""


class LookUpWaits(httpcore.ConnectError):
    """The host wasn't looked up, because too many others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `status` is 0 without an answer, and `problem` says why."""

    status: int = 0
    body: bytes = b""  # at most MAX_BODY_BYTES
    headers: Mapping[str, str] | None = None  # names in lower case
    problem: OutboundProblem = OutboundProblem.NONE


def is_public(address: Address) -> bool:
    """False for every address that isn't reached over the public internet, including one in the notation of another kind."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in GLOBAL_V6:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in REFUSED_NETWORKS)
    )


def parse_target(url: str, allow: Collection[AllowedTarget] = ()) -> httpx.URL:
    """The address, if it may be one of ours to call as far as its text says. Raises TargetRefused; looks nothing up."""
    try:
        target = httpx.URL(url)
        port = target.port or {"https": PORT, "http": 80}.get(target.scheme, 0)
    except (httpx.InvalidURL, ValueError) as problem:
        raise TargetRefused(OutboundProblem.INVALID_URL, "This isn’t a valid address.") from problem
    if not target.raw_host or target.userinfo or target.fragment:
        raise TargetRefused(
            OutboundProblem.INVALID_URL, "The address has no host, or has a user name or a fragment."
        )
    host = target.raw_host.decode()  # `host` would decode a name in Punycode, and fail where it is none
    if (host, port) in allow:
        return target
    if target.scheme != "https" or port != PORT:
        raise TargetRefused(OutboundProblem.INVALID_URL, "Only https:// on port 443 is allowed.")
    literal = _parse_address(host)
    if (literal is not None and not is_public(literal)) or (literal is None and "." not in host.strip(".")):
        raise TargetRefused(OutboundProblem.HOST_UNUSABLE, "This host isn’t on the public internet.")
    return target


async def require_public_host(
    url: str, *, holder: str, allow: Collection[AllowedTarget] | None = None
) -> None:
    """Look the host up, so that a mistake is noticed before anything is sent. Call it outside of transactions.

    Raises TargetRefused, for every host of the same text and time, whatever is wrong with it. A later call checks again:
    this answer proves nothing about it. `holder`: the tenant.
    """
    allowed = list_allowed_targets() if allow is None else allow
    target = parse_target(url, allowed)
    host, port = target.raw_host.decode(), target.port or PORT
    if (host, port) in allowed:
        return
    refused_at = asyncio.get_running_loop().time() + REFUSAL_TIME_S
    try:
        async with asyncio.timeout_at(refused_at):
            await _resolve(host, port, allowed, holder=holder)
    except (AddressRefused, HostUnknown, LookUpWaits, TimeoutError) as problem:
        await asyncio.sleep(refused_at - asyncio.get_running_loop().time())
        raise TargetRefused(
            OutboundProblem.HOST_UNUSABLE, "This host isn’t on the public internet."
        ) from problem


def list_allowed_targets() -> frozenset[AllowedTarget]:
    return frozenset(settings().outbound_allow_targets)


def _parse_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def resolve_public(host: str) -> str:
    """One address of the host, for a connection to port 443 that is opened at once.

    Raises AddressRefused, HostUnknown, LookUpWaits.
    """
    addresses = await _resolve(host, PORT, (), holder=host)
    return str(addresses[0])


async def _resolve(host: str, port: int, allow: Collection[AllowedTarget], *, holder: str) -> list[Address]:
    """Every address of the host. One that isn't public refuses the host. Raises AddressRefused, HostUnknown, LookUpWaits."""
    try:
        addresses = await look_ups.get_look_ups().look_up(host, port, holder=holder)
    except look_ups.LookUpFailed as problem:
        raise HostUnknown(str(problem)) from problem
    except look_ups.NoLookUpSlot as problem:
        raise LookUpWaits(f"too many look-ups, {host} has to wait") from problem
    if (host, port) not in allow and (port != PORT or not all(map(is_public, addresses))):
        raise AddressRefused(f"{host} has an address that is not public")
    return addresses


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens sockets to addresses that it has checked itself. `holder`: the tenant, which has a share of the look-ups."""

    def __init__(self, allow: Collection[AllowedTarget] = (), *, holder: str = "") -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allow, self._holder = frozenset(allow), holder

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  as the library calls it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolve(host, port, self._allow, holder=self._holder)
        dial = partial(
            self._inner.connect_tcp,
            port=port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )
        *others, last = addresses[:MAX_ADDRESSES]
        for address in others:
            try:
                return await dial(str(address))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await dial(str(last))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OutboundClient:
    """Connections to customers' hosts, for one event loop. Close it with `close`.

    It keeps idle connections itself: the pool of httpcore goes through all its connections for each request.
    """

    def __init__(
        self,
        allow: Collection[AllowedTarget] | None = None,
        *,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = list_allowed_targets() if allow is None else frozenset(allow)
        self._total_timeout_s = total_timeout_s
        self._ssl_context = ssl_context or httpx.create_ssl_context(trust_env=False)
        self._idle: OrderedDict[str, list[httpcore.AsyncHTTPConnection]] = OrderedDict()  # by origin
        self._idle_count = 0

    async def close(self) -> None:
        while self._idle:
            for connection in self._idle.popitem()[1]:
                await connection.aclose()
        self._idle_count = 0

    async def _take(self, origin: httpcore.Origin, holder: str) -> httpcore.AsyncHTTPConnection:
        """An idle connection to this origin that is still open, or a new one."""
        connections = self._idle.get(str(origin), [])
        while connections:
            connection = connections.pop()
            self._idle_count -= 1
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        self._idle.pop(str(origin), None)
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=IDLE_S,
            network_backend=GuardedBackend(self._allow, holder=holder),
        )

    async def _give_back(self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep it for the next request, unless it was closed. Where there are too many, an older one goes."""
        if not connection.is_idle():
            await connection.aclose()
            return
        self._idle.setdefault(str(origin), []).append(connection)
        self._idle.move_to_end(str(origin))
        self._idle_count += 1
        if self._idle_count > MAX_IDLE_CONNECTIONS:
            oldest_origin, connections = next(iter(self._idle.items()))
            oldest = connections.pop(0)
            self._idle_count -= 1
            if not connections:
                del self._idle[oldest_origin]
            await oldest.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        holder: str = "",
    ) -> Answer:
        """One request without redirects. What goes wrong is in the answer; raises nothing but CancelledError.

        `holder`: the tenant, which has a share of the look-ups of hosts.
        """
        try:
            target = parse_target(url, self._allow)
            async with asyncio.timeout(self._total_timeout_s):
                return await self._exchange(method, target, headers or {}, body=body, holder=holder)
        except TargetRefused as refusal:
            return Answer(problem=refusal.problem)
        except (AddressRefused, HostUnknown):
            return Answer(problem=OutboundProblem.HOST_UNUSABLE)
        except LookUpWaits:
            return Answer(problem=OutboundProblem.LOOK_UP_WAITS)
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(problem=OutboundProblem.TIMEOUT)
        except httpcore.ConnectError as problem:
            return Answer(problem=_classify_connect_error(problem))
        except httpcore.NetworkError:
            return Answer(problem=OutboundProblem.NO_CONNECTION)
        except ssl.SSLError:  # after the handshake, where httpcore lets it pass
            return Answer(problem=OutboundProblem.TLS)
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            return Answer(problem=OutboundProblem.BAD_ANSWER)

    async def _exchange(
        self, method: str, target: httpx.URL, headers: Mapping[str, str], *, body: bytes, holder: str
    ) -> Answer:
        all_headers = {
            "host": target.netloc.decode(),
            "accept-encoding": "identity",  # an answer is never unpacked
            "content-length": str(len(body)),
            **headers,
        }
        timeouts = {"connect": CONNECT_TIMEOUT_S, "read": READ_TIMEOUT_S, "write": READ_TIMEOUT_S}
        url = httpcore.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        request = httpcore.Request(
            method, url, headers=list(all_headers.items()), content=body, extensions={"timeout": timeouts}
        )
        connection = await self._take(url.origin, holder)
        try:
            response = await connection.handle_async_request(request)
            content = await _read_start(response)
            await response.aclose()  # closes the connection where more was to come
        except BaseException:
            await connection.aclose()
            raise
        await self._give_back(url.origin, connection)
        answered = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
        }
        return Answer(status=response.status, body=content, headers=answered)


async def _read_start(response: httpcore.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_stream():
        content += chunk
        if len(content) >= MAX_BODY_BYTES:
            break
    return bytes(content[:MAX_BODY_BYTES])


def _classify_connect_error(problem: BaseException) -> OutboundProblem:
    """TLS where any cause is an error of it."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return OutboundProblem.TLS
        cause = cause.__cause__ or cause.__context__
    return OutboundProblem.NO_CONNECTION
