"""Rules about imports, contexts, SQL, tables and database roles that no single module can keep."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.core import database_logins
from shared.core.config import NON_FIELD_SETTINGS, Settings
from tests.support import database_catalog, source

ROOT = Path(__file__).parents[1]
DOOR = "shared/tenancy/entry.py"
DOORS = (
    DOOR,
    "shared/tenancy/siblings.py",
    "shared/core/context.py",
)  # the second one leads from a live tenant to its test tenant, and back; the third one keeps tenant, actor and rights
# Outside of repositories and models: the machinery below every module, and those who ask about the schema itself.
SPEAK_SQL = (
    "shared/core/",
    "shared/cli/database.py",
    "shared/cli/database_diagnosis.py",
    "shared/cli/database_roles.py",
    "shared/cli/doctor/database_checks.py",
    "shared/cli/login_checks.py",
    "shared/jobs/queue_status.py",
    "shared/jobs/queue.py",
    "shared/web/health.py",
    "shared/ui/live_updates.py",
)
# What makes up a decision, and where it may be looked at: the decision itself, and the door that fills contexts.
DECIDED = {
    *(
        "billing_status",
        "features",
        "flags",
        "permissions",
        "plan",
        "plan_name",
        "plan_version",
        "role",
        "role_name",
    ),
    "verdicts",
}
DECIDES = ("shared/access/", "shared/entitlements/", DOOR)
SECOND_LOOK = "shared/backoffice/operators.py"  # compares what an operator is with what they were on entering
SAYS = "shared/tenancy/plan_notice.py"  # says how plan and bill stand; closes nothing
# Where a function may take an operator's context first (docs/architecture.md).
TAKES_OPERATOR_CTX = (
    "shared/backoffice/",
    DOOR,
    "shared/audit/audit_log.py",
    "shared/access/policy.py",
)
PAGES = ("tenant_app/", "admin_app/", "shared/ui/")
MAX_PAGE_LINES, MAX_PAGE_FUNCTION_LINES = 300, 60
# Handlers that pages inherit, and the mixin that defines them.
INHERITED_HANDLERS = {
    "next_page": "shared/ui/list_state.py",
    "previous_page": "shared/ui/list_state.py",
    "open_dialog": "shared/ui/dialog_state.py",
    "close_dialog": "shared/ui/dialog_state.py",
}
SQL_WORDS = re.compile(
    r"^\s*(?:select\s.+\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|truncate\s|alter\s+table\s)",
    re.IGNORECASE | re.DOTALL,
)
BUILDERS = {"select", "insert", "update", "delete", "text"}
# Named here on purpose; each looks a row up by a key it was given and returns no more than the caller may have.
# A unique key of a partitioned table holds what it is partitioned by. `usage_key` keeps the ids of events unique.
PARTITIONED_KEYS = {"usage_event": ("tenant_id", "meter", "occurred_at", "id")}
SECURITY_DEFINER = {
    "add_unverified_user",
    *("list_tenants_with_open_usage", "maintain_usage_partitions"),
    *("count_waiting_jobs", "fetch_fair_job", "find_due_job", "list_throttles", "record_tenant_load"),
    *("claim_trial", "delete_old_trial_claims", "find_trial_refusal"),
    *(
        "find_customer_tenant",
        "list_unsynced_customers",
        "record_customer_tenant",
        "record_user_tenant",
    ),
    *("record_bugs", "record_security_event", "record_traffic"),  # add to what operators read
    *(  # one session by its hash, or the sessions of one person
        f"{verb}_{realm}_{noun}"
        for realm in ("user", "operator")
        for verb, noun in (
            *(("find", "session"), ("list", "sessions"), ("open", "session"), ("touch", "session")),
            *(("end", "session"), ("end", "session_by_id"), ("end", "sessions")),
        )
    ),
    *("count_jobs", "procrastinate_defer_jobs_v1"),  # numbers, and jobs that only a signature makes run
    # Deliver events of all tenants: they return ids, and numbers of events.
    *(
        "claim_webhook_deliveries",
        "delete_old_webhook_events",
        "fan_out_events",
        "fan_out_events_in_turns",
        "claim_deliveries_in_turns",
        "delete_old_events_of_tenant",
        "next_tenant_with_old_events",
    ),
    # Return the id of a tenant; numbers and hashes of the operators' chain, never an event.
    *("next_tenant_to_anchor", "next_tenant_to_stream", "next_tenant_to_verify"),
    *("check_operator_events", "get_operator_head"),
    *("seal_audit_log", "seal_audit_logs"),  # give events their places in the chain, and return how many
    "find_impersonating_role",  # of one signed-in operator, whose session's hash the caller has
    "delete_old_decision_records",  # of all tenants, by age; returns how many
    "find_claimed_tenant",  # the id of a tenant, by a slug or a host that a request names
    *(
        "next_tenant_to_delete",
        "next_tenant_with_ended_files",
        "next_tenant_with_old_answers",
    ),  # the id of a tenant that has something to delete
    "is_origin_of_a_key",  # yes or no, for a request that has no key yet
    "refuse_kept_slug",  # sees addresses that other tenants have left, one at a time
    *("name_member", "rename_member"),  # triggers, which copy a person's name to their own memberships
    *("drop_job", "retry_job"),  # operators change failed jobs, and nothing else of the queue
    # One address at a time: whether a mail may be sent, and what a signed event or a proven link says about it.
    *("end_mail_suppression", "find_mail_problem", "take_mail_event", "withhold_mail"),
    "delete_test_rows",  # of a test tenant, from tables whose rows the app may not delete
}


def test_no_files_import_each_other_in_a_circle() -> None:
    trees = source.load_trees()
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in trees}
    imports = {
        module: {
            imported
            for _, origin, name in source.list_imports(trees[path])
            for imported in [f"{origin}.{name}" if f"{origin}.{name}" in modules else origin]
            if imported in modules and imported != module
        }
        for module, path in modules.items()
    }
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_import_contracts_hold() -> None:
    process = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout


def test_contexts_are_created_only_by_entry() -> None:
    """Neither by `replace` nor by importing the class under another name."""
    strangers = [
        f"{path}:{line} calls {name}"
        for path, tree in source.load_trees().items()
        if path not in DOORS
        for line, name in source.list_calls(tree)
        if name in ("Ctx", "OperatorCtx")
    ]
    strangers += [
        f"{path}:{line} imports dataclasses.replace"
        for path, tree in source.load_trees().items()
        if path not in DOORS
        for line, module, name in source.list_imports(tree)
        if module == "dataclasses" and name in ("replace", "")
    ]
    renamed = [
        f"{path}:{node.lineno} renames {name.name}"
        for path, tree in source.load_trees().items()
        for node in source.list_nodes(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.name in ("Ctx", "OperatorCtx") and name.asname
    ]
    assert strangers + renamed == []


def test_sql_is_written_only_in_repositories() -> None:
    violations = []
    for path, tree in source.load_trees().items():
        if path.endswith(("repository.py", "/models.py")) or path.startswith(SPEAK_SQL):
            continue
        violations += [
            f"{path}:{line} imports {module}.{name}"
            for line, module, name in source.list_imports(tree)
            if module.split(".")[0] in ("sqlalchemy", "sqlmodel", "psycopg")
            and (name in BUILDERS or not name)
        ]
        violations += [
            f"{path}:{node.lineno} spells SQL"
            for node in source.list_nodes(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_WORDS.match(node.value)
        ]
    assert violations == []


def test_repositories_are_imported_only_by_their_module() -> None:
    violations = []
    for path, tree in source.load_trees().items():
        home = ".".join(path.split("/")[:2])  # a module's parts share its repositories
        for line, module, name in source.list_imports(tree):
            full = f"{module}.{name}"
            if re.search(r"\brepository\b|_repository\b", full) and not full.startswith(f"{home}."):
                violations.append(f"{path}:{line} imports {full}")
    assert violations == []


def test_role_plan_feature_and_flag_are_compared_only_by_decisions() -> None:
    """Other code asks `decide` by the name of an action. A row's own role may be compared, as for the last owner."""
    violations = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path, tree in source.load_trees().items()
        if not path.startswith((*DECIDES, SAYS, SECOND_LOOK))
        for node in source.list_nodes(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Attribute) and side.attr in DECIDED and _is_an_actors(side.value)
    ]
    assert violations == []


def _is_an_actors(value: ast.expr) -> bool:
    """`ctx.…`, `ctx.rights.…`, `self._ctx.rights.…`; a row's own column is none of it."""
    if isinstance(value, ast.Attribute):
        return value.attr == "rights" or _is_an_actors(value.value)
    return isinstance(value, ast.Name) and value.id in ("ctx", "octx", "principal", "rights", "who")


def test_functions_with_an_operator_context_are_in_backoffice() -> None:
    """Pages, `log` and the middleware receive a context, but they are no services."""
    misplaced = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in source.load_trees().items()
        if path.startswith("shared/") and not path.startswith(TAKES_OPERATOR_CTX)
        for node in source.list_nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.args.args
        and node.args.args[0].annotation is not None
        and ast.unparse(node.args.args[0].annotation) == "OperatorCtx"
    ]
    assert misplaced == []


def test_pages_and_their_functions_stay_short() -> None:
    """A longer page becomes a package of state, rows, view and dialogs (docs/ui.md)."""
    trees = {path: tree for path, tree in source.load_trees().items() if path.startswith(PAGES)}
    too_long = [
        f"{path}: {line_count} lines"
        for path in trees
        if (line_count := len((ROOT / path).read_text().splitlines())) > MAX_PAGE_LINES
    ]
    too_long += [
        f"{path}:{node.lineno} {node.name}: {line_count} lines"
        for path, tree in trees.items()
        for node in source.list_nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (line_count := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_PAGE_FUNCTION_LINES
    ]
    assert too_long == []


def test_paging_and_dialogs_are_inherited_from_the_mixins() -> None:
    handmade = [
        f"{path}:{node.lineno} defines {node.name}"
        for path, tree in source.load_trees().items()
        if path.startswith(PAGES)
        for node in source.list_nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and INHERITED_HANDLERS.get(node.name, path) != path
    ]
    assert handmade == []


def test_there_is_one_class_for_a_page_of_rows() -> None:
    """It is `Page[T]`."""
    handmade = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in source.load_trees().items()
        if path != "shared/core/paging.py"
        for node in source.list_nodes(tree)
        if isinstance(node, ast.ClassDef)
        and (fields := {ast.unparse(field.target) for field in node.body if isinstance(field, ast.AnnAssign)})
        and ("next_cursor" in fields or {"rows", "after"} <= fields)
    ]
    assert handmade == []


def test_webhooks_are_verified_by_our_code_and_never_by_the_sdk() -> None:
    """One of the SDK's functions checks nothing, the others accept any time in the future; all build its objects."""
    violations = [
        f"{path}:{node.lineno} {name}"
        for path, tree in source.load_trees().items()
        for node in source.list_nodes(tree)
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        for name in [
            node.attr
            if isinstance(node, ast.Attribute)
            else node.id
            if isinstance(node, ast.Name)
            else node.name
        ]
        if re.match("construct_event|parse_event_notification|WebhookSignature", name)
    ]
    assert violations == []


def test_settings_and_their_documentation_name_the_same() -> None:
    page = ROOT / "docs" / "settings.md"
    written = set(re.findall(r"^\| `([A-Z_]+)", page.read_text(), re.MULTILINE))
    setting_names = {str(field.alias) for field in Settings.model_fields.values()}
    assert setting_names - written == set(), "missing in docs/settings.md"
    assert written - setting_names - NON_FIELD_SETTINGS == set(), "in docs/settings.md, but not a setting"


# ── the database's own word ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def name(schema: str) -> str:
    return schema


def test_every_table_has_a_tenant_or_is_listed_as_global(name: str) -> None:
    tenant_tables = database_catalog.list_tenant_tables(name)
    assert tenant_tables == database_catalog.list_registered_tables()
    assert (
        database_catalog.list_all_tables(name) - tenant_tables - {"tenant"} == database_catalog.GLOBAL_TABLES
    )


def test_tenant_tables_force_row_security(name: str) -> None:
    rows = database_catalog.run_query(
        "select relname from pg_class where relkind in ('r', 'p') and relrowsecurity and relforcerowsecurity",
        name=name,
    )
    forced = {row[0] for row in rows}
    assert (
        database_catalog.list_tenant_tables(name)
        | {"plan", "plan_version", "price", "tenant", "user_tenant", "platform_key"}
    ) - forced == set()


def test_tenant_tables_have_exactly_both_policies(name: str) -> None:
    rows = database_catalog.run_query(
        "select tablename, policyname, cmd, roles::text[], qual, with_check from pg_policies where schemaname = 'public'",
        name=name,
    )
    policies: dict[str, dict[str, tuple[str, list[str], str, str]]] = {}
    for table, policy, cmd, roles, qual, check in rows:
        policies.setdefault(table, {})[policy] = (cmd, roles, qual, check)
    for table in database_catalog.list_tenant_tables(name) | {"tenant"}:
        key = "id" if table == "tenant" else "tenant_id"
        tenant_policy, across = policies[table]["tenant_isolation"], policies[table]["operator_cross_tenant"]
        assert (tenant_policy[0], tenant_policy[1]) == ("ALL", ["public"]), table
        for side in tenant_policy[2:]:
            assert re.fullmatch(
                rf"\({key} = \( SELECT current_setting\('app\.tenant_id'::text, true\).*\)\)", side
            ), side
        assert (across[0], across[1], across[3]) == ("SELECT", ["bulkhead_operator"], None), table
        assert "app.cross_tenant_reason" in across[2], table
    extra = {(table, policy) for table, table_policies in policies.items() for policy in table_policies}
    extra -= {
        (table, policy) for table in policies for policy in ("tenant_isolation", "operator_cross_tenant")
    }
    sealer_tables = ("audit_event", "audit_head", "audit_seal")
    for table in sealer_tables:  # of the functions that seal, which belong to the owner
        assert policies[table]["sealer"][1] == ["bulkhead_owner"], table
        assert "app.sealing" in policies[table]["sealer"][2], table
    assert policies["audit_event"]["sealer"][0] == "SELECT"
    assert policies["decision_record"]["purge"][:2] == ("ALL", ["bulkhead_owner"])
    assert "app.purging_decisions" in policies["decision_record"]["purge"][2]
    assert policies["api_key"]["origins"][:2] == ("SELECT", ["bulkhead_owner"])
    assert "app.sought_origin" in policies["api_key"]["origins"][2]
    dispatcher_tables = ("event_outbox", "tenant", "webhook_attempt", "webhook_delivery", "webhook_endpoint")
    for (
        table
    ) in dispatcher_tables:  # of the functions that deliver events of all tenants, which belong to the owner
        assert policies[table]["dispatcher"][1] == ["bulkhead_owner"], table
        assert "app.dispatching" in policies[table]["dispatcher"][2], table
    assert policies["tenant"]["dispatcher"][0] == "SELECT"
    assert "mode = 'live'" in policies["tenant"]["operator_cross_tenant"][2]
    test_policy = policies["tenant"]["operator_test_tenants"]
    assert test_policy[:2] == ("SELECT", ["bulkhead_operator"])
    assert all(setting in test_policy[2] for setting in ("app.cross_tenant_reason", "app.test_tenants"))
    for policy in ("own_test_tenants", "test_tenant"):
        assert policies["tenant"][policy][0] == "SELECT"
        assert policies["tenant"][policy][2].startswith("(live_tenant_id = ")
    for table, policy in (("tenant", "claimed_slug"), ("tenant_host", "claimed_host")):
        assert policies[table][policy][:2] == ("SELECT", ["bulkhead_owner"])
        assert f"app.{policy}" in policies[table][policy][2]
    cleaning_tables = ("export_job", "idempotency_key", "stored_file", "tenant", "tenant_deletion")
    for table in cleaning_tables:  # of the functions that find tenants with something to delete
        assert policies[table]["cleaning"][:2] == ("SELECT", ["bulkhead_owner"])
        assert "app.cleaning" in policies[table]["cleaning"][2], table
    for table, command in (("usage_key", "ALL"), ("usage_mark", "SELECT"), ("usage_window", "SELECT")):
        assert policies[table]["metering"][:2] == (command, ["bulkhead_owner"]), table
        assert "app.dispatching" in policies[table]["metering"][2], table
    for table, command in (("tenant_load", "ALL"), ("tenant_throttle", "SELECT")):
        assert policies[table]["fairness"][:2] == (command, ["bulkhead_owner"]), table
        assert "app.dispatching" in policies[table]["fairness"][2], table
    evidence_tables = ("audit_anchor", "audit_head", "audit_stream", "tenant")
    for table in evidence_tables:  # of the functions that find tenants whose chain has something to do
        assert policies[table]["evidence"][:2] == ("SELECT", ["bulkhead_owner"])
        assert "app.evidence" in policies[table]["evidence"][2], table
    assert extra == {
        ("tenant_load", "fairness"),
        ("tenant_throttle", "fairness"),
        *((table, "evidence") for table in evidence_tables),
        *((table, "cleaning") for table in cleaning_tables),
        ("job_failure", "operators"),
        ("job_failure", "worker"),
        *((table, "sealer") for table in sealer_tables),
        ("api_key", "origins"),
        ("decision_record", "purge"),
        *((table, "dispatcher") for table in dispatcher_tables),
        ("former_slug", "checked_by_trigger"),
        ("former_slug", "own_former_slugs"),
        ("membership", "named_by_trigger"),
        ("membership", "own_memberships"),
        ("operator_session", "former_version"),
        ("operator_session", "session_functions"),
        ("plan", "catalogue"),
        ("platform_key", "key_of_trials"),
        ("plan", "offered"),
        ("plan_version", "catalogue"),
        ("plan_version", "offered"),
        ("platform_key", "key_of_operators"),
        ("platform_key", "key_of_users"),
        ("platform_key", "rotation"),
        ("price", "catalogue"),
        ("price", "offered"),
        ("procrastinate_jobs", "operators"),
        ("procrastinate_jobs", "own_jobs"),
        ("procrastinate_jobs", "worker"),
        ("role", "own_roles"),
        ("tenant", "claimed_slug"),
        ("tenant", "operator_test_tenants"),
        ("tenant", "own_tenants"),
        ("tenant", "own_test_tenants"),
        ("tenant", "test_tenant"),
        ("tenant_host", "claimed_host"),
        ("unsigned_job", "worker"),
        ("usage_key", "metering"),
        ("usage_mark", "metering"),
        ("usage_window", "metering"),
        ("user_session", "former_version"),
        ("user_session", "session_functions"),
        ("user_tenant", "kept_by_trigger"),
        ("user_tenant", "own_tenants"),
    }


def test_keys_and_references_include_the_tenant(name: str) -> None:
    tables = database_catalog.list_tenant_tables(name)
    for table in tables:
        key = PARTITIONED_KEYS.get(table, ("tenant_id", "id"))
        assert key in database_catalog.list_unique_keys(table, name), table
        for reference in database_catalog.list_references(table, name):
            if reference.target in tables:
                assert reference.columns[0] == reference.target_columns[0] == "tenant_id", (table, reference)


def test_views_read_with_the_rights_of_the_caller(name: str) -> None:
    rows = database_catalog.run_query(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and (relkind = 'm' or relkind = 'v'"
        " and not coalesce(reloptions @> array['security_invoker=true'], false))",
        name=name,
    )
    assert rows == []


# These wait for rows that refer to the person, on purpose, or for whoever seals with the key, to which no row refers.
FULL_ROW_LOCKS = {"lock_user", "lock_user_by_email", "lock_realm_key"}


def test_row_locks_let_referring_rows_be_inserted() -> None:
    """FOR UPDATE blocks every insert that refers to the row. An audited service of the same tenant would deadlock."""
    violations = [
        f"{path}:{call.lineno} {function.name}"
        for path, tree in source.load_trees().items()
        for function in source.list_nodes(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and function.name not in FULL_ROW_LOCKS
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and _locks_whole_row(call)
    ]
    assert violations == []


def _locks_whole_row(call: ast.Call) -> bool:
    """Whether the call is `with_for_update` or takes it as an argument, without `key_share` or `read` (FOR SHARE)."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "with_for_update":
        return not any(keyword.arg in ("key_share", "read") for keyword in call.keywords)
    return any(
        keyword.arg == "with_for_update" and not re.search("key_share|read", ast.unparse(keyword.value))
        for keyword in call.keywords
    )


def test_functions_look_into_temporary_tables_last(schema: str) -> None:
    """A login that could make one would put it before the table that a function with more rights reads."""
    paths = database_catalog.run_query(
        "select p.oid::regprocedure::text, setting from pg_proc p, unnest(p.proconfig) setting"
        " where p.pronamespace = 'public'::regnamespace and setting like 'search_path=%'",
        name=schema,
    )
    assert len(paths) > 20
    assert [name for name, setting in paths if not setting.endswith(", pg_temp")] == []
    logins = [database_logins.login_name(schema, kind) for kind in ("app", "worker", "operator")]
    may_make_tables = database_catalog.run_query(
        "select rolname::text from pg_roles where rolname = any (%s)"
        " and has_database_privilege(rolname, current_database(), 'TEMP')",
        logins,
        name=schema,
    )
    assert may_make_tables == []


def test_security_definer_functions_are_the_listed_ones(name: str) -> None:
    rows = database_catalog.run_query(
        "select p.proname, pg_get_userbyid(p.proowner), coalesce(p.proconfig::text, '') from pg_proc p"
        " where p.prosecdef and p.pronamespace = 'public'::regnamespace",
        name=name,
    )
    assert {row[0] for row in rows} == SECURITY_DEFINER
    assert {row[1] for row in rows} == {"bulkhead_owner"}
    assert [row[0] for row in rows if "search_path" not in row[2]] == []


def test_database_roles_cannot_bypass_row_security(name: str) -> None:
    rows = database_catalog.run_query(
        "select rolname from pg_roles where rolname like 'bulkhead%%'"
        " and (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication)",
        name=name,
    )
    assert rows == []
    members = database_catalog.run_query(
        "select roleid::regrole::text, member::regrole::text from pg_auth_members"
        " where member::regrole::text in ('bulkhead_app', 'bulkhead_operator')",
        name=name,
    )
    assert members == []


def test_app_roles_own_truncate_and_create_nothing(name: str) -> None:
    rows = database_catalog.run_query(
        "select c.relname, r.rolname from pg_class c, pg_roles r where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p') and r.rolname in ('bulkhead_app', 'bulkhead_operator')"
        " and (has_table_privilege(r.oid, c.oid, 'truncate') or has_table_privilege(r.oid, c.oid, 'trigger')"
        "      or has_table_privilege(r.oid, c.oid, 'references') or c.relowner = r.oid)",
        name=name,
    )
    assert rows == []
    for role in database_catalog.APP_ROLES:
        (created,) = database_catalog.run_query(
            "select has_schema_privilege(%s, 'public', 'create') or has_database_privilege(%s, current_database(), 'create')",
            role,
            role,
            name=name,
        )
        assert created == (False,)


def test_app_roles_cannot_read_people_of_the_other_realm(name: str) -> None:
    rows = database_catalog.run_query(
        "select r.rolname, c.relname from pg_class c, pg_roles r where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p') and has_any_column_privilege(r.oid, c.oid, 'select, insert, update')"
        " and (r.rolname = 'bulkhead_app' and c.relname like 'operator%%'"
        "      or r.rolname = 'bulkhead_operator' and c.relname like 'user\\_%%')",
        name=name,
    )
    assert rows == []


CONTRACTS_OF_EVERY_MODULE = {  # name of the contract: packages of `shared` that it leaves out
    "Only the apps and the UI kit know Reflex": {"cli", "ui"},
    "Nothing of development below the command line": {"cli", "dev"},
    "Stripe stays behind the gateway": {"cli", "dev"},
}


def test_import_contracts_name_every_package() -> None:
    """A package that is not named could import what the contract forbids."""
    project = tomllib.loads((source.ROOT / "pyproject.toml").read_text())
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    packages = {path.parent.name for path in (source.ROOT / "shared").glob("*/__init__.py")}
    for name, left_out in CONTRACTS_OF_EVERY_MODULE.items():
        named = {
            module.removeprefix("shared.")
            for module in contracts[name]["source_modules"]
            if module.startswith("shared.")
        }
        assert named == packages - left_out, name


def test_pages_take_their_object_from_what_is_shown() -> None:
    """The address may name another one by then: only `ObjectState` compares the two."""
    pages = [file for app in ("tenant_app", "admin_app") for file in (ROOT / app).rglob("*.py")]
    assert [file.name for file in pages if "router.url.path" in file.read_text()] == []
