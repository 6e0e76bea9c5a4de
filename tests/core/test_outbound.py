"""HTTP to addresses that customers choose: what is refused, and when."""

import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import pytest

from shared.core import outbound
from shared.core.config import ConfigurationError, settings
from shared.core.outbound import (
    MAX_BODY_BYTES,
    AddressRefused,
    GuardedBackend,
    HostUnknown,
    OutboundClient,
    OutboundProblem,
    TargetRefused,
)
from tests.support.broken_tls import run_broken_server
from tests.support.webhook_receiver import HOST, run_receiver

PUBLIC, PRIVATE, METADATA = "93.184.216.34", "10.0.0.5", "169.254.169.254"
NAME = "hooks.example.com"
REFUSED_ADDRESSES = (
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.0.0.8",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
)  # fmt: skip


@pytest.fixture
def answer_names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The addresses that each look-up of any name gives, one list after another; the last one stays."""

    def set_answers(*answers: list[str]) -> None:
        remaining = list(answers)

        def look_up(host: str, port: int, **_: Any) -> list[Any]:
            addresses = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            if not addresses:
                raise socket.gaierror("unknown")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return set_answers


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that sockets were opened to. Nothing is really opened."""
    addresses: list[str] = []

    async def connect(_: object, host: str, port: int, *positional: Any, **options: Any) -> None:
        addresses.append(host)
        raise httpcore.ConnectError("not in a test")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return addresses


@pytest.mark.parametrize("text", REFUSED_ADDRESSES)
def test_address_is_refused_when_it_is_not_public(text: str) -> None:
    assert not outbound.is_public(ip_address(text))


@pytest.mark.parametrize("text", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_address_is_accepted_when_it_is_public(text: str) -> None:
    assert outbound.is_public(ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "http://[::]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com/#part",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "https://",
        "https://hooks.example.com:99999/",
        "not an address",
        "https://hooks.example.com/\r\nx: y",
    ],
)
def test_target_is_refused_when_its_text_is_no_public_https_address(url: str) -> None:
    with pytest.raises(TargetRefused):
        outbound.parse_target(url)


def test_target_is_accepted_when_it_is_https_on_a_name() -> None:
    assert outbound.parse_target("https://hooks.example.com/a?b=c").host == NAME


@pytest.mark.parametrize("written", ["https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/"])
async def test_loopback_in_another_notation_is_refused(written: str) -> None:
    client = OutboundClient(())
    answer = await client.send("POST", written)
    await client.close()
    assert (answer.status, bool(answer.problem)) == (0, True)


async def test_socket_is_refused_when_the_name_has_a_private_address(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    answer_names([PRIVATE])
    with pytest.raises(AddressRefused):
        await GuardedBackend().connect_tcp(NAME, 443, 1.0)
    assert dialled == []


async def test_socket_is_refused_when_one_of_several_addresses_is_private(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    answer_names([PUBLIC, METADATA])
    with pytest.raises(AddressRefused):
        await GuardedBackend().connect_tcp(NAME, 443, 1.0)
    assert dialled == []


async def test_socket_is_refused_on_another_port(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    answer_names([PUBLIC])
    with pytest.raises(AddressRefused):
        await GuardedBackend().connect_tcp(NAME, 8443, 1.0)
    assert dialled == []


async def test_name_that_changes_its_address_is_dialled_at_the_checked_one(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    """Rebinding: a second look-up would give the private address."""
    answer_names([PUBLIC], [PRIVATE])
    with pytest.raises(httpcore.ConnectError):
        await GuardedBackend().connect_tcp(NAME, 443, 1.0)
    assert dialled == [PUBLIC]


async def test_name_that_becomes_private_after_registration_is_refused(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    answer_names([PUBLIC], [PRIVATE])
    await outbound.require_public_host(f"https://{NAME}/", holder="ten_a", allow=())
    client = OutboundClient(())
    assert (await client.send("POST", f"https://{NAME}/")).problem is OutboundProblem.HOST_UNUSABLE
    await client.close()
    assert dialled == []


async def test_registration_says_the_same_in_the_same_time_of_internal_and_of_unknown_hosts(
    answer_names: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a stranger would learn the names of our network."""
    monkeypatch.setattr(outbound, "REFUSAL_TIME_S", 0.1)
    refusals = []
    for addresses in (["127.0.0.1"], [METADATA, PUBLIC], []):
        answer_names(addresses)
        began = time.monotonic()
        with pytest.raises(TargetRefused) as refusal:
            await outbound.require_public_host(f"https://{NAME}/", holder="ten_a", allow=())
        assert 0.1 <= time.monotonic() - began < 0.2
        refusals.append((refusal.value.problem, str(refusal.value)))
    assert refusals == [refusals[0]] * 3


async def test_socket_is_refused_when_the_name_has_no_address(answer_names: Callable[..., None]) -> None:
    answer_names([])
    with pytest.raises(HostUnknown):
        await GuardedBackend().connect_tcp(NAME, 443, 1.0)


async def test_answer_says_the_same_of_internal_and_of_unknown_hosts(
    answer_names: Callable[..., None], dialled: list[str]
) -> None:
    client = OutboundClient(())
    answers = []
    for addresses in ([PRIVATE], []):
        answer_names(addresses)
        answers.append(await client.send("POST", f"https://{NAME}/"))
    await client.close()
    assert answers[0] == answers[1]
    assert dialled == []


@pytest.mark.parametrize("host", ["xn--mnchen-3ya.example", "münchen.example", "xn--zz--a.example"])
async def test_host_in_punycode_is_dialled_and_named_as_it_is_written(
    host: str, answer_names: Callable[..., None], dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is no valid Punycode: it is an unknown host, and no error of ours."""
    answer_names([PUBLIC])
    client = OutboundClient(())
    answer = await client.send("POST", f"https://{host}/")
    await client.close()
    assert (answer.problem, dialled) == (OutboundProblem.NO_CONNECTION, [PUBLIC])


async def test_loopback_is_reached_only_when_it_is_allowed() -> None:
    async with run_receiver() as receiver:
        allowed, strict = OutboundClient([receiver.target]), OutboundClient(())
        assert (await allowed.send("POST", receiver.url, body=b"{}")).status == 200
        assert (await strict.send("POST", receiver.url, body=b"{}")).problem is OutboundProblem.INVALID_URL
        await allowed.close()
        await strict.close()
    assert len(receiver.requests) == 1


async def test_redirect_is_not_followed() -> None:
    async with run_receiver() as receiver:
        receiver.answer, receiver.headers = lambda _: 302, {"location": f"http://{METADATA}/latest/meta-data"}
        client = OutboundClient([receiver.target, (METADATA, 80)])
        answer = await client.send("POST", receiver.url)
        await client.close()
    assert (answer.status, len(receiver.requests)) == (302, 1)


async def test_answer_is_cut_when_it_is_long() -> None:
    async with run_receiver() as receiver:
        receiver.body = "x" * 2_000_000
        client = OutboundClient([receiver.target])
        answer = await client.send("POST", receiver.url)
        await client.close()
    assert (answer.status, len(answer.body)) == (200, MAX_BODY_BYTES)


async def test_answer_is_given_up_when_it_takes_too_long() -> None:
    async with run_receiver() as receiver:
        receiver.delay_s = 5.0
        client = OutboundClient([receiver.target], total_timeout_s=0.1)
        answer = await client.send("POST", receiver.url)
        await client.close()
    assert answer.problem is OutboundProblem.TIMEOUT


async def test_answer_names_tls_when_it_breaks_after_the_handshake(tmp_path: Path) -> None:
    with run_broken_server(tmp_path) as server:
        client = OutboundClient([server.target], ssl_context=server.trust)
        answer = await client.send("POST", server.url, body=b"{}")
        await client.close()
    assert answer.problem is OutboundProblem.TLS


async def test_cookies_and_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with run_receiver() as receiver:
        receiver.headers = {"set-cookie": "tenant=acme"}
        client = OutboundClient([receiver.target])
        for _ in range(2):
            assert (await client.send("POST", receiver.url)).status == 200
        await client.close()
    assert all("cookie" not in request.headers for request in receiver.requests)


def test_allowed_targets_are_read_from_the_setting(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_OUTBOUND_ALLOW", f"{HOST}:9000, localhost:3002")
    assert outbound.list_allowed_targets() == {(HOST, 9000), ("localhost", 3002)}


@pytest.mark.parametrize("value", ["localhost", "http://localhost:1", "localhost:x", "a:1/path"])
def test_allowed_targets_are_refused_when_they_are_no_hosts_with_ports(
    value: str, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_OUTBOUND_ALLOW", value)
    with pytest.raises(ConfigurationError, match="BULKHEAD_OUTBOUND_ALLOW"):
        settings()


def test_production_refuses_allowed_targets(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_OUTBOUND_ALLOW", f"{HOST}:9000")
    environment("BULKHEAD_ENV", "prod")
    with pytest.raises(ConfigurationError, match="BULKHEAD_OUTBOUND_ALLOW is set"):
        settings()
