"""Whose address counts, by what real proxies write into X-Forwarded-For."""

from collections.abc import Callable

import pytest
from starlette.requests import Request

from shared.web.request_identity import get_client_address

SetVariable = Callable[[str, str], None]
PEER, CLIENT, FORGED = "10.0.0.2", "203.0.113.7", "198.51.100.9"
V6, V6_NETWORK = "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"


def address_of(*lines: str, hops: int = 1, peer: str = PEER, environment: SetVariable) -> str:
    environment("TRUSTED_PROXY_HOPS", str(hops))
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    return get_client_address(Request({"type": "http", "headers": headers, "client": (peer, 1)}))


@pytest.mark.parametrize(
    ("lines", "hops", "address"),
    [
        pytest.param([CLIENT], 1, CLIENT, id="nginx with $remote_addr"),
        pytest.param([f"{FORGED}, {CLIENT}"], 1, CLIENT, id="nginx with $proxy_add_x_forwarded_for"),
        pytest.param([FORGED, CLIENT], 1, CLIENT, id="HAProxy option forwardfor: a line of its own"),
        pytest.param([f"{FORGED}, {FORGED}", CLIENT], 1, CLIENT, id="HAProxy behind a forged list"),
        pytest.param([f"{FORGED}, {CLIENT}"], 1, CLIENT, id="AWS ALB append"),
        pytest.param([f"{FORGED},{CLIENT}:40112"], 1, CLIENT, id="AWS ALB with client port"),
        pytest.param([f"{FORGED}, {CLIENT}:51234"], 1, CLIENT, id="Azure Application Gateway"),
        pytest.param([f"[{V6}]:51234"], 1, V6_NETWORK, id="Azure Application Gateway IPv6"),
        pytest.param([f"{FORGED},{CLIENT}"], 1, CLIENT, id="Cloudflare"),
        pytest.param([f"{FORGED},{CLIENT}, 172.64.0.1"], 2, CLIENT, id="Cloudflare and nginx"),
        pytest.param([f"{FORGED},{CLIENT}", "172.64.0.1"], 2, CLIENT, id="Cloudflare and HAProxy"),
        pytest.param([f"{FORGED}, {CLIENT}, 35.191.0.1"], 2, CLIENT, id="Google load balancer"),
        pytest.param([V6], 1, V6_NETWORK, id="IPv6"),
        pytest.param([f"[{V6}]"], 1, V6_NETWORK, id="IPv6 in brackets"),
        pytest.param([f'"[{V6}]:443"'], 1, V6_NETWORK, id="IPv6 in quotes"),
        pytest.param(["fe80::1%eth0"], 1, "fe80::/64", id="IPv6 with a zone"),
        pytest.param([f"::ffff:{CLIENT}"], 1, CLIENT, id="dual-stack socket: v4-mapped"),
        pytest.param([f"[::ffff:{CLIENT}]:99"], 1, CLIENT, id="v4-mapped with a port"),
        pytest.param(["::FFFF:cb00:7107"], 1, CLIENT, id="v4-mapped in hexadecimal"),
        pytest.param([f"{FORGED}, , {CLIENT}"], 1, CLIENT, id="an empty entry"),
        pytest.param([], 1, PEER, id="no header"),
        pytest.param([CLIENT], 2, PEER, id="fewer entries than proxies"),
        pytest.param([FORGED], 0, PEER, id="no proxy is trusted"),
        pytest.param([f"{CLIENT}, garbage"], 1, PEER, id="garbage"),
        pytest.param([f"{CLIENT}, unknown"], 1, PEER, id="unknown, as in RFC 7239"),
        pytest.param([f"{CLIENT}, 999.1.1.1"], 1, PEER, id="no such address"),
        pytest.param([f"{CLIENT}, {CLIENT}:99:99"], 1, PEER, id="two ports"),
        pytest.param([f"{CLIENT}, {'1' * 5_000}"], 1, PEER, id="a long entry"),
        pytest.param([f"{CLIENT}, \xe9"], 1, PEER, id="no ASCII"),
        pytest.param([f"{CLIENT}, 0x7f.1"], 1, PEER, id="another notation"),
    ],
)
def test_address_is_the_one_that_the_trusted_proxy_saw(
    lines: list[str], hops: int, address: str, environment: SetVariable
) -> None:
    assert address_of(*lines, hops=hops, environment=environment) == address


@pytest.mark.parametrize("port", [1, 1111, 65535])
def test_ports_of_one_client_share_one_address(port: int, environment: SetVariable) -> None:
    assert address_of(f"{CLIENT}:{port}", environment=environment) == CLIENT


@pytest.mark.parametrize(
    ("peer", "address"), [(f"::ffff:{CLIENT}", CLIENT), (V6, V6_NETWORK), ("testclient", "testclient")]
)
def test_peer_is_written_the_same_way(peer: str, address: str, environment: SetVariable) -> None:
    assert address_of(hops=0, peer=peer, environment=environment) == address
