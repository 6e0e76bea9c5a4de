"""Fetch the keys that a customer's issuer publishes, from an address that the customer chose.

https on port 443 of a public address only, which is checked and then dialled itself. No redirect, no proxy, and an answer
that is bounded in size and time.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

MAX_BYTES = 65_536
TIMEOUT_S = 5.0
PORT = 443
GLOBAL_V6 = ip_network("2000::/3")
# Public by `ipaddress` of some Python, but reserved or routed to private networks.
REFUSED_NETWORKS = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"))
)


class FetchFailed(Exception):
    """There are no keys at this address, or we don't go there. The message has no secret."""


def check_url(url: str) -> httpx.URL:
    """Raises FetchFailed for an address that can't be one of published keys. Looks nothing up."""
    try:
        target = httpx.URL(url)
        port = target.port or PORT
    except (httpx.InvalidURL, ValueError) as problem:
        raise FetchFailed("not an address") from problem
    if target.scheme != "https" or port != PORT or not target.host or target.userinfo or target.fragment:
        raise FetchFailed("not https on port 443")
    return target


async def fetch(url: str, transport: httpx.AsyncBaseTransport | None = None) -> bytes:
    """At most MAX_BYTES, in at most TIMEOUT_S seconds. `transport`: of tests. Raises FetchFailed."""
    target = check_url(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            address = await _find_public_address(target.host)
            async with httpx.AsyncClient(
                transport=transport, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S
            ) as client:
                return await _read(client, target, address)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as problem:
        raise FetchFailed(type(problem).__name__) from problem


async def _read(client: httpx.AsyncClient, target: httpx.URL, address: str) -> bytes:
    """TLS is checked for the name, while the connection goes to the address that was checked."""
    request = client.stream(
        "GET",
        target.copy_with(host=address),
        headers={"host": target.host, "accept": "application/json", "accept-encoding": "identity"},
        extensions={"sni_hostname": target.host},
    )
    async with request as response:
        if response.status_code != 200:
            raise FetchFailed(f"answers {response.status_code}")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise FetchFailed("answers too much")
        return bytes(content)


async def _find_public_address(host: str) -> str:
    """One address that isn't public refuses the host. Raises FetchFailed."""
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise FetchFailed("host unknown") from problem
    addresses = [ip_address(str(entry[4][0])) for entry in entries]
    if not addresses or not all(map(_is_public, addresses)):
        raise FetchFailed("not a public host")
    return str(addresses[0])


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address not in GLOBAL_V6:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in REFUSED_NETWORKS)
    )
