"""The registry of modules: filled once, read by everybody."""

import pytest

from shared.core import registry
from shared.core.registry import Module


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_modules", {})
    monkeypatch.setattr(registry, "_readers", [])


async def reindex() -> None: ...


def test_fill_calls_readers_that_were_registered_before_and_after() -> None:
    read_before, read_after = list[str](), list[str]()
    registry.each_module(lambda module: read_before.append(module.name))
    registry.fill([Module(name="projects")])
    registry.each_module(lambda module: read_after.append(module.name))
    assert (read_before, read_after) == (["projects"], ["projects"])


def test_fill_is_refused_when_two_modules_share_a_name() -> None:
    registry.fill([Module(name="projects")])
    with pytest.raises(ValueError, match="Two modules are called projects"):
        registry.fill([Module(name="projects", tasks={"projects.reindex": reindex})])


def test_fill_twice_with_the_same_module_changes_nothing() -> None:
    module = Module(name="projects", tasks={"projects.reindex": reindex})
    registry.fill([module])
    registry.fill([module])
    assert registry.list_modules() == [module]
    assert registry.list_tasks() == {"projects.reindex": reindex}
