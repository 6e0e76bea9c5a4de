"""Reads lock files and proves that they are complete: what `pip install --no-deps` installs needs nothing else."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import chain

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Environment = Mapping[str, str]  # values of markers, as in packaging.markers.default_environment()


@dataclass(frozen=True, kw_only=True)
class Package:
    """The metadata of a package."""

    version: str
    requires: tuple[Requirement, ...] = ()
    extras: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One entry of a lock file."""

    name: str
    version: str
    hashes: frozenset[str]
    marker: Marker | None = None

    def applies(self, environment: Environment) -> bool:
        return self.marker is None or self.marker.evaluate(dict(environment))


FindPackage = Callable[[str], Package | None]


def parse_lock(text: str) -> dict[str, Pin]:
    """Pins by canonical name. Raises ValueError for anything but one `name==version` for each name."""
    pins: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pin = _parse_pin(line)
        if pin.name in pins:
            raise ValueError(f"{pin.name} is pinned twice")
        pins[pin.name] = pin
    return pins


def _parse_pin(line: str) -> Pin:
    requirement = Requirement(re.split(r"\s--hash=", line)[0])
    versions = [each.version for each in requirement.specifier if each.operator == "=="]
    if len(versions) != 1 or len(requirement.specifier) != 1 or "*" in versions[0]:
        raise ValueError(f"{line.split()[0]} is not an exact pin")
    return Pin(
        name=canonicalize_name(requirement.name),
        version=versions[0],
        hashes=frozenset(re.findall(r"--hash=(\S+)", line)),
        marker=requirement.marker,
    )


@cache
def find_installed(name: str) -> Package | None:
    """The metadata of a package of this environment."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return Package(
        version=distribution.version,
        requires=tuple(Requirement(each) for each in distribution.requires or ()),
        extras=frozenset(map(canonicalize_name, distribution.metadata.get_all("Provides-Extra") or ())),
    )


def list_gaps(
    requirements: Iterable[Requirement],
    *,
    pins: Mapping[str, Pin],
    find_package: FindPackage,
    environment: Environment,
    installed: bool,
) -> list[str]:
    """What the pins lack for these requirements and all that follow from them, extras included, as sentences.

    `installed`: the pins are installed in that environment, so a package without metadata is a gap. Otherwise the
    requirements of packages that are installed only elsewhere are not followed.
    """
    gaps: list[str] = []
    waiting = [
        ("pyproject.toml", requirement)
        for requirement in requirements
        if _applies(requirement, "", environment)
    ]
    followed: set[tuple[str, str]] = set()
    while waiting:
        origin, requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        pin = pins.get(name)
        gap = _find_gap(requirement, pin, environment)
        if gap or pin is None:
            gaps.append(f"{origin} requires {requirement}: {gap}")
            continue
        package = find_package(name)
        if package is None or package.version != pin.version:
            if installed:
                gaps.append(f"{name} {pin.version} is locked, installed is {package and package.version}")
            continue
        for extra in chain([""], map(canonicalize_name, sorted(requirement.extras))):
            if extra and extra not in package.extras:
                gaps.append(f"{origin} requires {requirement}: {name} {pin.version} has no extra {extra}")
            elif (name, extra) not in followed:
                followed.add((name, extra))
                label = f"{name}[{extra}]" if extra else name
                waiting += [(label, each) for each in package.requires if _applies(each, extra, environment)]
    return gaps


def _find_gap(requirement: Requirement, pin: Pin | None, environment: Environment) -> str:
    if pin is None:
        return "not locked"
    if not pin.applies(environment):
        return f"locked only where {pin.marker}"
    if not requirement.specifier.contains(pin.version, prereleases=True):
        return f"locked is {pin.version}"
    return ""


def _applies(requirement: Requirement, extra: str, environment: Environment) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})
