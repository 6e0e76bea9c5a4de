"""The cast, another one for every test: nothing to clean up, safe to run in parallel.

Acme: Ann owns it, Adam is its admin, Max a member. Globex: Gil owns it. Carl belongs to nobody and must never see
anything. Olga is an operator: another realm, another cookie.
"""

import atexit
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[1]
gc.disable()  # until the product is loaded, see `spare_loaded_code`
# Where the shell forbids Python to keep compiled modules, each of our many processes would compile the product anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Before anything of ours is imported: tests never touch the data of `make up`, nor its stand-ins.
os.environ.setdefault("BULKHEAD_DATA_DIR", str(ROOT / ".bulkhead" / "test"))
os.environ.setdefault(
    "BULKHEAD_SANDBOX_URL", "http://localhost:1"
)  # nobody: a test that wants mail opens a mailbox
os.environ.setdefault("BULKHEAD_REQUESTS_PER_SECOND", "1000000")  # all visitors come from one address
os.environ.setdefault("BULKHEAD_API_KEY_REQUESTS_PER_MINUTE", "100000000")
os.environ.setdefault("BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE", "100000000")
os.environ.setdefault("BULKHEAD_TENANT_REQUESTS_PER_SECOND", "1000000")

import reflex as rx  # noqa: E402
import structlog  # noqa: E402
from _pytest.unraisableexception import gc_collect_iterations_key  # noqa: E402
from argon2 import PasswordHasher  # noqa: E402
from reflex.istate.data import RouterData  # noqa: E402
from xdist.remote import Producer  # noqa: E402
from xdist.scheduler import LoadScopeScheduling  # noqa: E402

from shared.access import decision_counts  # noqa: E402
from shared.billing import provider_registry  # noqa: E402
from shared.billing.models import PLATFORM  # noqa: E402
from shared.core import db, log, rate_limits, request_ids  # noqa: E402
from shared.core.config import settings  # noqa: E402
from shared.core.context import Ctx, OperatorCtx  # noqa: E402
from shared.entitlements import rights_cache  # noqa: E402
from shared.identity import passwords  # noqa: E402
from shared.tenancy import entry  # noqa: E402
from shared.ui.states import SessionState  # noqa: E402
from tests.support import casts, database, factories, sizes  # noqa: E402
from tests.support.billing import price_list_reset  # noqa: E402
from tests.support.billing.scripted_provider import FakeProvider  # noqa: E402

# Tests that share what is costly to make: one process for all of a group. By path, because the marks of pytest-xdist
# 3.8 do not reach its scheduler under pytest 9.2.
TOGETHER = {
    "tests/e2e/": "e2e",
    "tests/test_landed_data.py": "landed data",
    "tests/test_migrations.py::test_events_are_in_the_former_chain": "demo data",
    "tests/test_migrations.py::test_migrations_run_down_and_up_with_demo_data": "demo data",
    "tests/test_isolation.py": "attack",
    "tests/web/test_event_cost.py": "app",
    "tests/web/test_event_flood.py": "app",
    "tests/web/test_slow_requests.py": "app",
    "tests/web/rest/test_openapi.py": "openapi",
    "tests/web/test_two_processes.py": "two",
    "tests/backoffice/test_flag_exposure.py": "exposure",
    "tests/backoffice/test_list_growth.py": "list growth",
    "tests/tenancy/test_member_list_growth.py": "member growth",
    "tests/web/test_database_outage.py": "outage",
    "tests/metering/test_replica_reports.py": "replica",
    "tests/cli/test_database_roles.py": "roles",
    "tests/test_architecture.py": "source",
    "tests/test_docstrings.py": "source",
    "tests/test_facts_not_sentences.py": "source",
    "tests/test_manifests.py": "source",
    "tests/test_names.py": "source",
    "tests/test_unused.py": "source",
    "tests/test_wording.py": "source",
}
MOST_CASTS = 100  # in one database
PRODUCT_HASHER = passwords._hasher
# A twentieth of the product's cost. `test_passwords` has the product's own.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
State = TypeVar("State", bound=SessionState)


@dataclass(frozen=True)
class Person:
    account: factories.SignedInUser
    slug: str

    @property
    def email(self) -> str:
        return self.account.user.email

    @property
    def name(self) -> str:
        return self.account.user.name

    @property
    def user_id(self) -> str:
        return self.account.user.id

    @property
    def cookie(self) -> str:
        return self.account.cookie

    def ctx(self, slug: str = "") -> AbstractAsyncContextManager[Ctx]:
        """In through the same door as the apps: cookie and wished-for tenant in, Ctx out."""
        return entry.enter_tenant(self.cookie, slug or self.slug)

    async def gets(self, plan: str) -> None:
        """Their tenant has this plan from now on."""
        await factories.assign_plan(self.account, self.slug, plan)

    def opens(self, page: type[State], *, slug: str = "", path: str = "members") -> State:
        """The page's state, as if this person's browser had just opened its websocket."""
        return opens(page, self.cookie, f"/t/{slug or self.slug}/{path}")


@dataclass(frozen=True)
class Operating:
    cookie: str

    def octx(self) -> AbstractAsyncContextManager[OperatorCtx]:
        return entry.enter_operator(self.cookie)

    def opens(self, page: type[State], *, path: str = "/") -> State:
        return opens(page, self.cookie, path)


def opens(page: type[State], cookie: str, path: str) -> State:
    tree = rx.State(_reflex_internal_init=True)  # pyright: ignore[reportCallIssue]
    headers = {"cookie": f"theme=dark; {cookie}", "origin": "http://localhost:3000"}
    tree.router = RouterData.from_router_data({"headers": headers, "asPath": path, "pathname": path})
    state = tree.get_substate(page.get_full_name().split("."))
    assert isinstance(state, page)
    return state


@dataclass(frozen=True)
class Cast:
    ann: Person
    adam: Person
    max: Person
    gil: Person
    carl: Person
    olga: Operating
    sam: Operating
    acme: str  # tenant ids
    globex: str


@dataclass
class Contents:
    """What the fixtures have put into the database of this process since it was made."""

    casts: int = 0
    operators: tuple[Operating, Operating] | None = None


contents = Contents()


class Grouped(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return next((group for path, group in TOGETHER.items() if nodeid.startswith(path)), nodeid)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="full sizes, and tests marked `long` (make test-long)"
    )


def pytest_configure(config: pytest.Config) -> None:
    spare_loaded_code()
    config.stash[gc_collect_iterations_key] = 1  # at its end pytest looks for garbage five times
    atexit.register(gc.freeze)  # and Python once more
    sizes.choose(long=config.getoption("--long"))
    # The default draws each traceback with its source in colours, which takes seconds.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    processors = [log.add_context, *structlog.get_config()["processors"][:-1], plain]
    structlog.configure(processors=processors)
    log.require_tenants()


def pytest_unconfigure(config: pytest.Config) -> None:
    database.stop_unused_server()  # each process does: the last one stops it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        items[:], deselected = sizes.split_long(items)
        config.hook.pytest_deselected(items=deselected)


def spare_loaded_code() -> None:
    """What is loaded stays: looking for garbage among it takes 0.2 seconds each time. New garbage is looked for rarely."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)  # as the product's processes do
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        spare_loaded_code()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped:
    return Grouped(config, log)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Sets an environment variable that is a setting, for this test only."""

    def set_variable(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield set_variable
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def app_login(schema: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """This process logs in as the apps do. Other tests log in as the worker, because they run jobs too."""
    await db.dispose()
    monkeypatch.setattr(db, "_app_login", "app")
    yield
    await db.dispose()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def schema(anyio_backend: str) -> AsyncIterator[str]:
    """Built by the migrations; tests log in as `bulkhead_app` and `bulkhead_operator`, like the apps.

    The name of this process's database.
    """
    name = database.build()
    database.do_not_wait_for_disk(name)
    yield name
    await db.dispose()
    database.drop(name)


@pytest.fixture(scope="module", autouse=True)
async def few_tenants(anyio_backend: str, schema: str | None) -> AsyncIterator[None]:
    """After a module, makes the database of this process anew when it has many tenants: much of the product reads them all."""
    if schema and contents.operators is None:
        olga, sam = await factories.create_operator("Olga"), await factories.create_operator("Sam", "support")
        contents.operators = Operating(olga), Operating(sam)
    yield
    if schema and contents.casts > MOST_CASTS:
        await _moved(lambda: database.do_not_wait_for_disk(database.build(schema)))
        contents.casts, contents.operators = 0, None


@asynccontextmanager
async def own_database(schema: str, word: str) -> AsyncIterator[None]:
    """For tests that look at all tenants there are, or make very many: no other test sees theirs, nor they others'."""
    name = f"{schema}_{word}"
    await _moved(lambda: database.do_not_wait_for_disk(database.build(name)))
    try:
        yield
    finally:
        await _moved(lambda: database.use(schema))
        database.drop(name)


async def _moved(change_database: Callable[[], object]) -> None:
    await db.dispose()
    change_database()
    rights_cache.invalidate()
    rights_cache._catalog = None  # its number may mean something else there


@pytest.fixture(autouse=True)
def a_seller() -> None:
    """Behind the platform's account, in this process: somebody who takes every customer and knows no subscription."""
    provider_registry.register(PLATFORM, FakeProvider())


@pytest.fixture
def tidy(schema: str) -> Iterator[None]:
    """The shop as the migrations leave it, before and after: what one test sells or pauses, no other one finds."""
    price_list_reset.clean_billing_rows()
    yield
    price_list_reset.clean_billing_rows()


@pytest.fixture(autouse=True)
async def fresh_limits() -> None:
    request_ids.end()  # tests run one after another in one task
    await rate_limits.clear_counts()
    decision_counts._pending.clear()  # of tenants of other tests, which nobody waits for


@pytest.fixture
def operators() -> tuple[Operating, Operating]:
    """Olga and Sam, the same for every test of a database: hashing their passwords takes longer than most tests."""
    assert contents.operators is not None
    return contents.operators


@pytest.fixture(scope="session")
async def original_cast(schema: str) -> casts.Original:
    return await casts.Original.create()


@pytest.fixture
def cast(original_cast: casts.Original, operators: tuple[Operating, Operating]) -> Cast:
    record = original_cast.copy()
    contents.casts += 1
    acme, globex = record.acme, record.globex
    slugs = {"ann": acme.slug, "adam": acme.slug, "max": acme.slug, "gil": globex.slug, "carl": acme.slug}
    people = {name: Person(record.accounts[name], slug) for name, slug in slugs.items()}
    return Cast(**people, olga=operators[0], sam=operators[1], acme=acme.id, globex=globex.id)
