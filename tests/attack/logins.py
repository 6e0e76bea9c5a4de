"""Straight at the database, as the login of each app: what belongs to no tenant, and the functions that pass row security.

From the catalog. Every table without a tenant is either stated below, with the reason why that app may read it, or it is
not read at all. Every function that runs with its owner's rights is either stated, or called for somebody else's sake.
"""

import json
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.core import crypto, db
from shared.core.database_logins import LoginKind
from shared.core.ids import new_id
from shared.identity import session_proofs, sessions
from shared.identity.realms import OPERATOR, USER, Realm
from shared.jobs import signatures
from tests.attack.report import Report
from tests.attack.world import World, connect
from tests.support import database

KIND = "logins"
REALM_OF_LOGIN: dict[LoginKind, Realm] = {"app": USER, "operator": OPERATOR}
CATALOG = "the same for everybody"
SIGN_IN = "the process that signs people in checks it"
DELIVERY = "carries no payload that this login can read"
READABLE: dict[LoginKind, dict[str, str]] = {
    "app": {
        **dict.fromkeys(
            ("alembic_version", "schema_version", "former_version_access", "job_signing"), CATALOG
        ),
        **dict.fromkeys(("entitlement_epoch", "flag", "flag_version", "plan", "plan_version"), CATALOG),
        "audit_sealer": "one number, of a transaction",
        "platform_anchor": "the number, hash and time of the operators' newest anchor",
        **dict.fromkeys(("price", "provider_price", "provider_account", "reconcile_run"), CATALOG),
        **dict.fromkeys(("customer_sync", "inbound_webhook"), DELIVERY),
        **dict.fromkeys(("procrastinate_events", "procrastinate_periodic_defers"), DELIVERY),
        "procrastinate_workers": DELIVERY,
        **dict.fromkeys(("user", "user_credential", "user_totp", "user_recovery_code"), SIGN_IN),
        **dict.fromkeys(("user_challenge", "user_token", "sign_up", "platform_key"), SIGN_IN),
    },
    "operator": {
        **dict.fromkeys(("alembic_version", "schema_version", "former_version_access"), CATALOG),
        **dict.fromkeys(("entitlement_epoch", "flag", "flag_version", "plan", "plan_version"), CATALOG),
        "audit_sealer": "one number, of a transaction",
        "platform_anchor": "the number, hash and time of the operators' newest anchor",
        **dict.fromkeys(("price", "provider_price", "provider_account", "reconcile_run"), CATALOG),
        **dict.fromkeys(("operator", "operator_credential", "operator_totp"), SIGN_IN),
        **dict.fromkeys(("operator_recovery_code", "operator_challenge", "platform_key"), SIGN_IN),
        **dict.fromkeys(("operator_key", "operator_idempotency_key"), "hashes, and what is sealed"),
        **dict.fromkeys(("customer_sync", "inbound_webhook"), "operators run the deliveries"),
        **dict.fromkeys(
            ("procrastinate_events", "procrastinate_jobs", "job_failure"), "operators run the queue"
        ),
        **dict.fromkeys(("operator_event", "security_event", "operator_chain_lock"), "operators' own log"),
        "bug_report": "operators find references",
        "operator_approval": "operators decide about requests of others",
        **dict.fromkeys(("mail_suppression", "unsent_mail"), "operators find why a mail wasn't sent"),
        "renewed_key": "operators renew keys",
        "user": "operators find people by their address",
    },
}
TRIGGERS = {
    "name_member",
    "record_customer_tenant",
    "record_user_tenant",
    "refuse_kept_slug",
    "rename_member",
}
HARMLESS = {
    "add_unverified_user": "adds a person without a password and without proof, and tells nothing",
    "claim_trial": "keeps a trial for the tenant of the transaction, and says only whether it is refused",
    "claim_deliveries_in_turns": "gives ids alone; the worker enters each tenant to read what it sends",
    "claim_webhook_deliveries": "gives ids alone; the worker enters each tenant to read what it sends",
    "check_operator_events": "compares hashes of the operators' log, and says which is wrong",
    "get_operator_head": "gives the number and the hash of the newest seal",
    "next_tenant_to_anchor": "tells the id of a tenant, and no row of it",
    "next_tenant_to_stream": "tells the id of a tenant, and no row of it",
    "next_tenant_to_verify": "tells the id of a tenant, and no row of it",
    "record_traffic": "adds to numbers, and reads nothing",
    "count_jobs": "numbers alone",
    "count_waiting_jobs": "a number of the tenant of the transaction",
    "fetch_fair_job": "only the login of the worker may call it",
    "list_throttles": "the reason that members of the tenant read, and until when",
    "record_tenant_load": "adds to numbers, and reads nothing",
    "find_impersonating_role": "needs the hash of an operator's live session, and gives the key of a role",
    "delete_old_events_of_tenant": "deletes what is old, whoever asks, and says how much",
    "delete_old_decision_records": "deletes what is old in any case, and says how much",
    "delete_old_trial_claims": "deletes claims that are past their time, whoever asks",
    "delete_old_webhook_events": "deletes what is old, and says how much",
    "delete_test_rows": "deletes rows of the tenant of the transaction, and of no live one",
    "fan_out_events_in_turns": "makes deliveries of events in their own tenants, and says how many",
    "fan_out_events": "makes deliveries of events in their own tenants, and says how many",
    "end_mail_suppression": "lets mail go again to an address, whose next bounce stops it",
    "find_mail_problem": "says whether one person's address bounces, and not which it is",
    "take_mail_event": "stops mail to an address that the app knows, and tells nothing",
    "withhold_mail": "says whether one address that the caller knows bounces",
    "find_claimed_tenant": "tells the id of a tenant by a name that its visitors know, and no row of it",
    "find_trial_refusal": "says whether a trial is refused, and not by whom",
    "list_tenants_with_open_usage": "gives ids alone; the worker enters each tenant to add up what it used",
    "maintain_usage_partitions": "makes months and drops old ones, whoever asks, and says how many keys it deleted",
    "is_origin_of_a_key": "says whether an origin is listed, and not by whose key",
    "seal_audit_log": "seals what is written, and says how much",
    "seal_audit_logs": "seals what is written, and says whether there was something",
    "next_tenant_with_old_events": "gives an id alone",
    "next_tenant_to_delete": "tells the id of a tenant, and no row of it",
    "next_tenant_with_ended_files": "tells the id of a tenant, and no row of it",
    "next_tenant_with_old_answers": "tells the id of a tenant, and no row of it",
    "record_bugs": "adds reports, and reads nothing",
    "record_security_event": "adds to a count, and reads nothing",
    "procrastinate_defer_jobs_v1": "adds a job; see below whether it runs",
    "retry_job": "operators run the queue",
    "drop_job": "operators run the queue",
}
# Without a tenant, or they are rows of its own.
GLOBAL_TABLES = """
    select c.relname as name from pg_class c
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
        and c.relname <> 'tenant' and not exists (
            select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by 1
"""
DEFINER_FUNCTIONS = """
    select distinct p.proname as name from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prosecdef and has_function_privilege(%s, p.oid, 'execute')
    order by 1
"""
OPEN = "select open_{}_session(%s, %s, %s, %s, '1 day', now() + interval '1 day', '', '', %s)"
INSERT = """
    insert into {table} (id, {owner}, token_hash, idle_expires_at, expires_at, factors)
    values (%s, %s, %s, now() + interval '1 day', now() + interval '1 day', 'password+totp')
"""
TASK = "tenancy.provision"
INSERT_JOB = f"insert into procrastinate_jobs (queue_name, task_name, args) values ('attack', '{TASK}', %s)"
DEFER_JOB = f"""
    select procrastinate_defer_jobs_v1(array[
        row('attack', '{TASK}', 0, null, null, cast(%s as jsonb), null)::procrastinate_job_to_defer_v1])
"""


async def attack(world: World, report: Report) -> None:
    for kind, realm in REALM_OF_LOGIN.items():
        tables(kind, world, report)
        functions(kind, world, report)
        await forged_sessions(kind, realm, world, report)
        touches(kind, world, report)
    jobs(world, report)
    await forged_jobs(world, report)


def login_connection(kind: LoginKind) -> psycopg.Connection[Any]:
    """As the login of this app. This process itself is a worker."""
    url = make_url(database.admin_url(make_url(db.login_url("app")).database or ""))
    return connect(db.derive_login_url(url, kind), prepare_threshold=db.prepare_threshold())


def fetch(kind: LoginKind, statement: sql.Composable, *values: Any) -> list[tuple[Any, ...]] | None:
    """The rows, none for a statement that returns none; None for one that is refused. Rolled back."""
    connection = login_connection(kind)
    try:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else [()] * max(cursor.rowcount, 0)
    except psycopg.Error:
        return None
    finally:
        connection.rollback()


def reaches(kind: LoginKind, statement: str, *values: Any) -> bool:
    return bool(fetch(kind, sql.SQL(statement), *values))  # type: ignore[arg-type]


def tables(kind: LoginKind, world: World, report: Report) -> None:
    """Every table that belongs to no tenant: read whole, and changed, unless it is stated."""
    with world.superuser() as superuser:
        names = [row["name"] for row in superuser.execute(GLOBAL_TABLES).fetchall()]
        filled = [
            name
            for name in names
            if superuser.execute(sql.SQL("select 1 from {} limit 1").format(sql.Identifier(name))).fetchone()
        ]
    for name in sorted(READABLE[kind].keys() - names):
        report.unknown(KIND, f"{kind}: {name} is stated and not there")
    for name in names:
        report.covers(KIND, name)
        table = sql.Identifier(name)
        read = bool(fetch(kind, sql.SQL("select 1 from {} limit 1").format(table)))
        if name in READABLE[kind]:
            if name in filled and name not in ("platform_key",):
                report.control(
                    KIND, f"{kind}: {name}, which it needs", works=read or _reads_columns(kind, name)
                )
            continue
        report.attempt(KIND, f"{kind} reads {name}", refused=not read)
        count = fetch(kind, sql.SQL("select count(*) from {} having count(*) > 0").format(table))
        report.attempt(KIND, f"{kind} counts {name}", refused=not count)
        deleted = fetch(kind, sql.SQL("delete from {} returning 1").format(table))
        report.attempt(KIND, f"{kind} deletes {name}", refused=not deleted)
        blind = fetch(kind, sql.SQL("delete from {}").format(table))
        report.attempt(KIND, f"{kind} deletes {name} unseen", refused=not blind)


def _reads_columns(kind: LoginKind, table: str) -> bool:
    """Where the login may read some columns alone."""
    columns = fetch(
        kind,
        sql.SQL("select attname from pg_attribute where attrelid = {}::regclass and attnum > 0").format(
            sql.Literal(f'"{table}"')
        ),
    )
    return any(
        fetch(
            kind, sql.SQL("select {} from {} limit 1").format(sql.Identifier(column), sql.Identifier(table))
        )
        for (column,) in columns or ()
    )


def functions(kind: LoginKind, world: World, report: Report) -> None:
    """Every function that runs with its owner's rights, called for what is somebody else's."""
    realm = REALM_OF_LOGIN[kind].name
    role = db.role_name("app" if kind == "app" else "operator")
    customer = world.claims("customer_id", world.globex)[0]
    session_id, token_hash, owner_id = _session_of(realm, world)
    # With a hash that nobody has, or with what may be known of a session: its id and its person, not its hash.
    calls: dict[str, list[tuple[str, list[Any]]]] = {
        "find_customer_tenant": [("select 1 where find_customer_tenant('platform', %s) <> ''", [customer])],
        "list_unsynced_customers": [("select * from list_unsynced_customers('infinity', null)", [])],
        f"find_{realm}_session": [
            (f"select * from find_{realm}_session(%s)", [guess])
            for guess in ("", "%", token_hash[:-1], session_id, owner_id)
        ],
        f"list_{realm}_sessions": [
            (f"select * from list_{realm}_sessions(%s)", [guess])
            for guess in ("", "%", token_hash[:-1], session_id, owner_id)
        ],
        f"touch_{realm}_session": [],  # gives no row; see `touches`
        f"end_{realm}_session": [(f"select * from end_{realm}_session(%s)", [session_id])],
        f"end_{realm}_session_by_id": [
            (f"select * from end_{realm}_session_by_id(%s, %s)", [new_id("usr"), session_id])
        ],
        f"end_{realm}_sessions": [(f"select * from end_{realm}_sessions(%s, '')", ["%"])],
        f"open_{realm}_session": [
            (OPEN.format(realm), [new_id("ses"), owner_id, token_hash[::-1], proof, factors])
            for proof, factors in (("", "password+totp"), ("x", "password+totp"), ("0" * 63, "password"))
        ],
    }
    with world.superuser() as superuser:
        names = [row["name"] for row in superuser.execute(DEFINER_FUNCTIONS, [role]).fetchall()]
    for name in names:
        if name in TRIGGERS or name in HARMLESS:
            continue
        if name not in calls:
            report.unknown(KIND, f"{kind}: {name} runs with its owner's rights")
        for statement, values in calls.get(name, ()):
            ok = not reaches(kind, statement, *values)
            report.attempt(KIND, f"{kind}: {name} with {len(values)} values that are not its own", refused=ok)
    session_row = reaches(kind, f"select * from find_{realm}_session(%s)", token_hash)
    report.control(KIND, f"{kind}: a session by its hash", works=session_row)
    other = "operator" if realm == "user" else "user"
    _, other_hash, _ = _session_of(other, world)
    ok = not reaches(kind, f"select * from find_{other}_session(%s)", other_hash)
    report.attempt(KIND, f"{kind}: a session of the other realm by its hash", refused=ok)


def _session_of(realm: str, world: World) -> tuple[str, str, str]:
    with world.superuser() as superuser:
        row = superuser.execute(
            sql.SQL("select id, token_hash, {} as owner_id from {} where expires_at > now() limit 1").format(
                sql.Identifier(f"{realm}_id"), sql.Identifier(f"{realm}_session")
            )
        ).fetchone()
    assert row is not None
    return row["id"], row["token_hash"], row["owner_id"]


def touches(kind: LoginKind, world: World, report: Report) -> None:
    """Keeps a session alive, which only its hash may do."""
    realm = REALM_OF_LOGIN[kind]
    session_id, token_hash, owner_id = _session_of(realm.name, world)
    read = sql.SQL("select idle_expires_at from {} where id = %s").format(
        sql.Identifier(f"{realm.name}_session")
    )
    connection = login_connection(kind)

    def is_extended_by(name: str) -> bool:
        with world.superuser() as superuser:
            before = superuser.execute(read, [session_id]).fetchone()
        connection.execute(f"select touch_{realm.name}_session(%s, '0', '30 days')".encode(), [name])
        connection.commit()
        with world.superuser() as superuser:
            return before != superuser.execute(read, [session_id]).fetchone()

    for guess in ("", "%", token_hash[:-1], session_id, owner_id):
        report.attempt(
            KIND, f"{kind} extends a session by less than its hash", refused=not is_extended_by(guess)
        )
    report.control(KIND, f"{kind} extends a session by its hash", works=is_extended_by(token_hash))


async def forged_sessions(kind: LoginKind, realm: Realm, world: World, report: Report) -> None:
    """A row of a session whose token the attacker knows: not taken, or taken and no session of anybody."""
    _, _, owner_id = _session_of(realm.name, world)
    token = crypto.new_token()
    statement = sql.SQL(INSERT).format(
        table=sql.Identifier(f"{realm.name}_session"), owner=sql.Identifier(f"{realm.name}_id")
    )
    inserted = fetch(kind, statement, new_id("ses"), owner_id, crypto.hash_token(token))
    report.attempt(KIND, f"{kind} inserts a session", refused=not inserted)
    renamed = sql.SQL("update {} set token_hash = %s where {} = %s").format(
        sql.Identifier(f"{realm.name}_session"), sql.Identifier(f"{realm.name}_id")
    )
    changed = fetch(kind, renamed, crypto.hash_token(token), owner_id)
    report.attempt(KIND, f"{kind} gives a session another token", refused=not changed)
    genuine = await _signs_in(kind, realm, owner_id, None, world)
    report.control(KIND, f"{kind} opens a session with the proof of a process of ours", works=genuine)
    for name, proof in {"zeros": "0" * 64, "a signature": crypto.compute_signature("job", b"")}.items():
        ok = not await _signs_in(kind, realm, owner_id, proof, world)
        report.attempt(KIND, f"{kind} opens a session with {name} as its proof", refused=ok)


async def _signs_in(kind: LoginKind, realm: Realm, owner_id: str, proof: str | None, world: World) -> bool:
    """Whether the product takes a session that this login opens for somebody. `proof`: None for the right one."""
    token, session_id = crypto.new_token(), new_id("ses")
    if proof is None:
        row = SimpleNamespace(
            id=session_id,
            token_hash=crypto.hash_token(token),
            factors="password+totp",
            **{f"{realm.name}_id": owner_id},
        )
        proof = session_proofs.compute_proof(realm, row)
    connection = login_connection(kind)
    try:
        connection.execute(
            OPEN.format(realm.name).encode(),
            [session_id, owner_id, crypto.hash_token(token), proof, "password+totp"],
        )
        connection.commit()  # or no process would see it
    except psycopg.Error:
        connection.rollback()
        return False
    async with db.transaction(realm.db_role) as session:
        session_row = await sessions.find(session, realm, f"{realm.session_cookie}={token}")
    with world.superuser() as superuser:
        delete = sql.SQL("delete from {} where id = %s").format(sql.Identifier(f"{realm.name}_session"))
        superuser.execute(delete, [session_id])
    return session_row is not None


def jobs(world: World, report: Report) -> None:
    """The queue: what waits for other tenants, read, taken, and added beside its function."""
    arguments = json.dumps({"tenant_id": world.globex, "request_id": ""})
    with world.superuser() as superuser:
        superuser.execute(INSERT_JOB, [arguments])
    statements: list[tuple[str, str, list[Any]]] = [
        ("reads jobs", "select args from procrastinate_jobs", []),
        ("takes a job", "update procrastinate_jobs set status = 'doing' returning id", []),
        ("drops a job", "delete from procrastinate_jobs", []),
        ("adds a job", INSERT_JOB, [arguments]),
        ("fetches a job", "select id from procrastinate_fetch_job_v2(null, null) where id is not null", []),
        ("reads errors of jobs", "select error from job_failure", []),
    ]
    for description, statement, values in statements:
        report.attempt(KIND, f"app {description}", refused=not reaches("app", statement, *values))
    with world.superuser() as superuser:
        superuser.execute("delete from procrastinate_jobs where queue_name = 'attack'")
    works = reaches("app", "select 1 from count_jobs() having true")
    report.control(KIND, "app counts jobs", works=works)


async def forged_jobs(world: World, report: Report) -> None:
    """A job that the function of the queue takes from the app's login: no worker runs it."""
    for name, signature in {
        "no signature": None,
        "an empty signature": "",
        "a signature of something else": crypto.compute_signature("session", b""),
    }.items():
        arguments = {"tenant_id": world.globex, "request_id": ""}
        arguments |= {} if signature is None else {signatures.ARGUMENT: signature}
        works = reaches("app", DEFER_JOB, json.dumps(arguments))
        report.control(KIND, f"app enqueues a job with {name}", works=works)
        try:
            await signatures.check(None, TASK, arguments)
            refused = False
        except signatures.ForgedJob:
            refused = True
        report.attempt(KIND, f"a job of Globex with {name} runs", refused=refused)
    arguments = {"tenant_id": world.globex, "request_id": ""}
    await signatures.check(None, TASK, signatures.sign(TASK, arguments))
    report.control(KIND, "a job with the signature of a process of ours runs", works=True)
