"""The two sizes of the suite: `make test` and `make test-long`."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import sizes
from tests.support.sizes import SIZES, VARIABLE, choose, size, split_long

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Item:
    marks: tuple[str, ...]

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None


def test_full_size_is_larger_than_tiny() -> None:
    assert {name for name, each in SIZES.items() if not 0 < each.tiny < each.full} == set()


def test_every_size_in_the_table_is_used_and_no_other() -> None:
    files = [path for path in TESTS.rglob("*.py") if path.name != "test_sizes.py"]
    sources = "\n".join(path.read_text() for path in files)
    assert set(re.findall(r"\bsize\(\s*\"([^\"]+)\"", sources)) == SIZES.keys()


@pytest.mark.parametrize(("long", "expected"), [(False, "tiny"), (True, "full")])
def test_chosen_size_is_given(monkeypatch: pytest.MonkeyPatch, long: bool, expected: str) -> None:
    monkeypatch.setenv(VARIABLE, "")
    choose(long=long)
    assert all(size(name) == getattr(SIZES[name], expected) for name in SIZES)


def test_size_outside_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        size("nobody.knows")


def test_long_tests_run_only_with_the_option() -> None:
    items = [Item(()), Item(("long", "other")), Item(("other",))]
    assert split_long(items) == ([items[0], items[2]], [items[1]])


def test_option_decides_the_size(request: pytest.FixtureRequest) -> None:
    assert sizes.is_full() is bool(request.config.getoption("--long"))
