"""The isolation suite as a whole: clean on the product, complete by what the source says, and red when it should be.

It runs in a process and a database of its own, as `make attack` does. What is removed besides is a sample that changes
from run to run, as what is tried of attempts that are like one another; the seed is in the output, and ATTACK_SEED
repeats it.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from shared.access.endpoints import ENDPOINTS, OPERATOR_ENDPOINTS
from shared.jobs import worker
from shared.web import admin_http, tenant_http
from tests.attack import __main__, mutants, mutations, services
from tests.attack.calls import FLOORS, NOT_CALLED, SPECIAL, find
from tests.attack.routes import is_endpoint
from tests.support import database_catalog, source
from tests.support.sizes import size

pytestmark = pytest.mark.xdist_group("attack")
PLANTED = ("planted handler", "planted route", "planted table", "mark")
RECORD = source.ROOT / ".artifacts" / "isolation.json"
KINDS = {
    "caches",
    "canary",
    "endpoints",
    "envelopes",
    "files",
    "filters",
    "frames",
    "gate",
    "handlers",
    "hooks",
    "impersonated",
    "jobs",
    "logins",
    "people",
    "routes",
    "services",
    "siblings",
    "sockets",
    "tables",
}
APPS = {"tenant": tenant_http.app, "admin": admin_http.app}
ROUTES = {  # before an app hangs Reflex below them
    f"{app} {method} {getattr(route, 'path', '')}"
    for app, http in APPS.items()
    for route in http.routes
    for method in getattr(route, "methods", None) or ()
    if method != "HEAD" and not is_endpoint(f"{method} {getattr(route, 'path', '')}")
}


def run_attack(*arguments: str, timeout: int = 1_800) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.attack", *arguments]
    return subprocess.run(
        command, cwd=source.ROOT, capture_output=True, text=True, check=False, timeout=timeout
    )


@pytest.fixture(scope="module")
def attack_process() -> subprocess.CompletedProcess[str]:
    """The product is attacked as it is, and then without guards: in one process, because the world takes long to build."""
    RECORD.unlink(missing_ok=True)
    return run_attack("--mutate", *PLANTED, "--sample", str(size("attack.removals")), "--first")


@pytest.fixture(scope="module")
def attack_record(attack_process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert RECORD.exists(), attack_process.stdout[-6000:] + attack_process.stderr[-3000:]
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


def test_attack_on_the_product_finds_nothing(attack_record: dict[str, Any]) -> None:
    assert attack_record["passed"] == attack_record["void"] == attack_record["unknown"] == []
    assert attack_record["clean"]


def test_every_kind_of_attack_was_tried_beside_a_control(attack_record: dict[str, Any]) -> None:
    assert attack_record["attempts"].keys() == KINDS
    assert {kind for kind, count in attack_record["controls"].items() if count} == KINDS


def test_every_tenant_table_was_attacked(attack_record: dict[str, Any], schema: str) -> None:
    tables = database_catalog.list_tenant_tables(schema) | {"tenant"}
    assert set(attack_record["covered"]["tables"]) == tables
    assert attack_record["attempts"]["tables"] > 40 * len(tables)


def test_every_handler_was_attacked(attack_record: dict[str, Any]) -> None:
    """As the source lists them: every public method of a state is an endpoint, decorated or not."""
    assert set(attack_record["covered"]["handlers"]) == set(_handlers())
    assert attack_record["attempts"]["handlers"] > 12 * len(attack_record["covered"]["handlers"])


def _handlers() -> Iterator[str]:
    """Of every state of both apps, including what it inherits from mixins."""
    trees = source.load_trees()
    classes = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    mixins = {node.name: node for _, node in classes if _is_mixin(node)}
    for path, node in classes:
        app = path.partition("_app/")[0]
        if app in APPS and node.name.endswith(("State", "Shell")) and not _is_mixin(node):
            state = re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower()
            methods = {
                name for definition in _with_mixins(node, mixins) for name in _public_methods(definition)
            }
            yield from (f"{app} {state}.{name}" for name in methods)


def _is_mixin(node: ast.ClassDef) -> bool:
    return any(keyword.arg == "mixin" for keyword in node.keywords)


def _with_mixins(node: ast.ClassDef, mixins: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in mixins:
            yield from _with_mixins(mixins[base.id], mixins)


def _public_methods(definition: ast.ClassDef) -> Iterator[str]:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


def test_every_route_and_page_was_attacked(attack_record: dict[str, Any]) -> None:
    pages = {
        f"{path.partition('_app/')[0]} GET {route}"
        for path in source.load_trees()
        for route in re.findall(r'@rx\.page\(\s*route="([^"]+)"', (source.ROOT / path).read_text())
    }
    assert pages
    assert set(attack_record["covered"]["routes"]) == ROUTES | pages
    endpoints = [*ENDPOINTS, *OPERATOR_ENDPOINTS]
    assert len(attack_record["covered"]["endpoints"]) == len(endpoints)
    assert attack_record["attempts"]["endpoints"] > 5 * len(endpoints)
    assert attack_record["attempts"]["routes"] > 10 * len(attack_record["covered"]["routes"])


def test_every_service_was_called_without_permission(attack_record: dict[str, Any]) -> None:
    services_ = set(_taking_a_context())
    assert set(attack_record["covered"]["services"]) == services_ - services.ASKED_BEFORE.keys()


def _taking_a_context() -> Iterator[str]:
    for path, tree in source.load_trees().items():
        module = ".".join(path.removesuffix(".py").split("/")[1:])
        if not path.startswith("shared/") or module.partition(".")[0] in FLOORS:
            continue
        if module.endswith(("repository", ".tasks")):
            continue
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            first = node.args.args[0].annotation if node.args.args else None
            full = f"{module}.{node.name}"
            named = any(full == prefix or full.startswith(f"{prefix}.") for prefix in NOT_CALLED)
            if isinstance(first, ast.Name) and first.id in ("Ctx", "OperatorCtx") and not named:
                yield full


def test_special_arguments_name_parameters_of_existing_functions() -> None:
    """A renamed function would fall back to an argument that means something else, and hide a missing filter."""
    parameters = {f"{call.name}.{parameter}" for call in find() for parameter in call.parameters}
    assert SPECIAL.keys() <= parameters


def test_every_job_was_run_with_ids_of_the_other_tenant(attack_record: dict[str, Any]) -> None:
    assert set(attack_record["covered"]["jobs"]) == set(worker.list_tenant_tasks())


def test_planted_holes_and_sampled_removals_are_caught(
    attack_process: subprocess.CompletedProcess[str],
) -> None:
    result = attack_process
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert re.search(r"^the sample has the seed \d+$", result.stdout, re.MULTILINE), result.stdout
    # Once in each app: found without a mark. It is not twice, because the gate refuses it to the owner as well.
    assert re.search(r"^mark +caught by 2 attempts$", result.stdout, re.MULTILINE), result.stdout
    count = len(PLANTED) + size("attack.removals")
    assert f"{count} of {count} removals caught" in result.stdout


@pytest.mark.long
def test_every_removed_guard_is_caught() -> None:
    result = run_attack("--mutate", timeout=3 * 3600)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    assert f"{len(mutations.find())} of {len(mutations.find())} removals caught" in result.stdout


OPEN_ALL_HOLES = """
import tests.conftest, admin_app.admin_app
from tests.attack import holes
for open_hole in holes.IN_APPS.values():
    open_hole()
"""


def test_holes_replace_guards_that_exist() -> None:
    """A renamed guard would stay closed, and its hole be missed only by the run that happens to sample it."""
    command = [sys.executable, "-c", OPEN_ALL_HOLES]
    process = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]


def test_sample_is_the_same_for_the_same_seed() -> None:
    first, again, other = (mutations.sample(6, seed, besides=PLANTED) for seed in (1, 1, 2))
    assert first == again != other
    assert not {*first} & {*PLANTED}
    assert {*mutations.sample(10**6, 1, besides=PLANTED)} == {*mutations.find()} - {*PLANTED}


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "usage:"),
        (["--mutat"], 2, "unrecognized arguments"),
        (["--sample", "6"], 2, "belong to --mutate"),
        (["--first"], 2, "belong to --mutate"),
        (["--mutate", "nothing at all"], 2, "there is nothing called nothing at all to remove"),
    ],
    ids=["help", "unknown option", "sample without mutate", "first without mutate", "unknown removal"],
)
def test_attack_does_not_start_when_arguments_ask_for_none(
    arguments: list[str], status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.parse(arguments)
    output = capsys.readouterr()
    assert ended.value.code == status
    assert text in output.out + output.err


def test_filter_is_reported_when_no_row_depends_on_it() -> None:
    """Either no row depends on a filter that is executed, or no call executes the filter."""
    marked = mutants.Mutants(["a", "b", "c"], executed_by={"a": {"x"}, "b": {"x"}}, decisive={"a"})
    assert marked.blind() == {"b": mutants.WITHOUT_ROWS, "c": mutants.NOT_EXECUTED}
