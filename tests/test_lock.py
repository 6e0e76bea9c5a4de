"""The lock files are complete: `pip install --no-deps` installs them without resolving anything."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.support.locks import Environment, Package, Pin, find_installed, list_gaps, parse_lock

ROOT = Path(__file__).parents[1]
EXTRAS = {"requirements.lock": (), "requirements-test.lock": ("test",)}
PLATFORMS = {
    "linux": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "aarch64",
        "os_name": "posix",
    },
    "darwin": {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "platform_machine": "arm64",
        "os_name": "posix",
    },
    "win32": {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
        "os_name": "nt",
    },
}
ELSEWHERE = [(python, platform) for python in ("3.11", "3.14") for platform in PLATFORMS]


def read_lock(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def read_pins(name: str) -> dict[str, Pin]:
    return parse_lock(read_lock(name))


def read_requirements(extras: tuple[str, ...]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def list_gaps_of_lock(name: str, environment: Environment, *, installed: bool) -> list[str]:
    return list_gaps(
        read_requirements(EXTRAS[name]),
        pins=read_pins(name),
        find_package=find_installed,
        environment=environment,
        installed=installed,
    )


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_satisfies_every_requirement_of_this_interpreter(name: str) -> None:
    assert list_gaps_of_lock(name, environment_here(), installed=True) == []


@pytest.mark.parametrize(("python", "platform"), ELSEWHERE)
@pytest.mark.parametrize("name", EXTRAS)
def test_lock_satisfies_every_requirement_elsewhere(name: str, python: str, platform: str) -> None:
    environment = {
        **environment_here(),
        **PLATFORMS[platform],
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    assert list_gaps_of_lock(name, environment, installed=False) == []


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_entry_has_a_hash(name: str) -> None:
    pins = read_pins(name)
    assert pins
    assert [pin.name for pin in pins.values() if not pin.hashes] == []


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_names_no_index(name: str) -> None:
    assert re.findall(r"\S+://\S+|--(?!hash=sha256:)\S+|^-.*", read_lock(name), re.MULTILINE) == []


def test_locks_agree_on_common_packages() -> None:
    product, tests = (read_pins(name) for name in EXTRAS)
    assert product.keys() - tests.keys() == set()
    assert [
        name
        for name, pin in product.items()
        if (pin.version, pin.hashes) != (tests[name].version, tests[name].hashes)
    ] == []


# ── the check itself, on a lock that fits on a screen ────────────────────────────────────────────────────────────

LOCK = """
fastapi==1.0 --hash=sha256:aa
server==2.8.7 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
watcher==1.2 --hash=sha256:dd
winloop==0.3 ; sys_platform == 'win32' --hash=sha256:ee
"""
PACKAGES = {
    "fastapi": Package(version="1.0", requires=(Requirement("server[reload]>=2.8"),)),
    "server": Package(
        version="2.8.7",
        requires=(
            Requirement("watcher~=1.0; extra == 'reload'"),
            Requirement("winloop>=0.2; sys_platform == 'win32' and extra == 'reload'"),
            Requirement("notlocked; extra == 'other'"),
        ),
        extras=frozenset({"reload", "other"}),
    ),
    "watcher": Package(version="1.2"),
}


def list_gaps_of(lock: str, *requirements: str, platform: str = "linux", installed: bool = True) -> list[str]:
    return list_gaps(
        [Requirement(line) for line in requirements or ("fastapi>=1",)],
        pins=parse_lock(lock),
        find_package=PACKAGES.get,
        environment={**environment_here(), **PLATFORMS[platform]},
        installed=installed,
    )


def environment_here() -> dict[str, str]:
    return {key: str(value) for key, value in default_environment().items()}


def test_complete_lock_has_no_gap() -> None:
    assert list_gaps_of(LOCK) == []


def test_missing_package_of_an_extra_is_a_gap() -> None:
    lock = LOCK.replace("watcher==1.2 --hash=sha256:dd\n", "")
    assert list_gaps_of(lock) == ['server[reload] requires watcher~=1.0; extra == "reload": not locked']


def test_pin_that_does_not_satisfy_is_a_gap() -> None:
    lock = LOCK.replace("server==2.8.7", "server==2.7")
    assert list_gaps_of(lock) == ["fastapi requires server[reload]>=2.8: locked is 2.7"]


def test_pin_for_another_platform_is_a_gap() -> None:
    lock = LOCK.replace("watcher==1.2", "watcher==1.2 ; sys_platform == 'darwin'")
    (gap,) = list_gaps_of(lock)
    assert gap.endswith('locked only where sys_platform == "darwin"')


def test_package_of_another_platform_is_judged_by_its_pin() -> None:
    assert list_gaps_of(LOCK, platform="win32", installed=False) == []
    (gap,) = list_gaps_of(LOCK.replace("winloop==0.3", "winloop==0.1"), platform="win32", installed=False)
    assert gap.endswith("locked is 0.1")


def test_package_that_is_not_installed_or_newer_is_a_gap() -> None:
    assert list_gaps_of(LOCK, "winloop", platform="win32") == ["winloop 0.3 is locked, installed is None"]
    lock = LOCK.replace("watcher==1.2", "watcher==1.3")
    assert list_gaps_of(lock) == ["watcher 1.3 is locked, installed is 1.2"]


def test_unknown_extra_is_a_gap() -> None:
    (gap,) = list_gaps_of(LOCK, "server[fast]")
    assert gap.endswith("server 2.8.7 has no extra fast")


@pytest.mark.parametrize("line", ["server>=2", "server==2.*", "server==2,>1", "server==1\nserver==1"])
def test_inexact_or_double_pin_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="server"):
        parse_lock(line)
