"""Statements of a migration that stop the platform while they run, with what to write instead.

A migration runs beside the former version. It may not rewrite a table that grows, nor hold a lock that reads or writes
wait for while it looks at every row.
"""

import re
from collections.abc import Iterator, Sequence

# Tables whose rows the platform's operators make: some hundred at most.
SMALL_TABLES = {
    *("alembic_version", "entitlement_epoch", "flag", "flag_version", "operator", "operator_chain_lock"),
    *(
        "operator_credential",
        "operator_recovery_code",
        "operator_totp",
        "plan",
        "plan_version",
        "platform_key",
    ),
    *("price", "provider_account", "provider_price", "schema_version"),
}
NAME = r'(?:if (?:not )?exists )?(?:only )?"?(?P<table>\w+)"?'
ALTER = rf"^alter table {NAME}\b.*?"
VOLATILE = r"(?:clock_timestamp|gen_random_uuid|random|nextval|new_change_id|timeofday|uuid_generate\w*)"
RULES = {
    ALTER + r"\balter (?:column )?\S+ (?:set data )?type\b": (
        "rewrites the table: add a column of the new type, fill it in batches by a job, and switch in a later release"
    ),
    ALTER + rf"\badd (?:column )?(?!constraint).*\bdefault [^,]*\b{VOLATILE}\s*\(": (
        "rewrites the table: add the column without a default, set the default after it, and fill old rows in batches"
    ),
    ALTER + r"\badd (?:column )?(?!constraint)\S+ (?!.*\bdefault\b).*\bnot null\b": (
        "fails where there are rows: add the column with a constant default, or nullable"
    ),
    ALTER + r"\badd (?:column )?(?!constraint).*\bgenerated always as \(": (
        "rewrites the table: add an ordinary column and fill it by a trigger and in batches"
    ),
    ALTER + r"\badd constraint (?!.*\bnot valid\b).*\b(?:check|foreign key)\b": (
        "checks every row under a lock: add it `not valid`, and `validate constraint` in a later migration"
    ),
    ALTER + r"\badd (?:constraint \S+ )?(?:unique|primary key)\b(?! using index)": (
        "builds an index under a lock: create the index concurrently, then add the constraint `using index`"
    ),
    ALTER
    + r"\brename\b": "breaks the running version: add the new name, and drop the old one in a later release",
    rf"^create (?:unique )?index (?!concurrently\b).*?\bon {NAME}": (
        "blocks writes while it builds: `create index concurrently`, in an `autocommit_block` of its own migration"
    ),
    rf"^update {NAME} .*?\bset\b(?!.*\bwhere\b)": "locks the rows of every tenant in one transaction: a job that does it in batches",
    rf"^delete from {NAME}(?!.*\bwhere\b)": "locks the rows of every tenant in one transaction: a job that does it in batches",
    rf"^(?:truncate|cluster|vacuum full|reindex table)(?: table)? {NAME}": "locks the whole table: write to a new one",
}
SET_NOT_NULL = re.compile(ALTER + r"\balter (?:column )?\S+ set not null\b", re.IGNORECASE | re.DOTALL)
NOT_NULL_ADVICE = (
    "reads every row under a lock: add `check (… is not null) not valid`, validate it in a later migration, and set"
    " NOT NULL after it"
)


def find_violations(statements: Sequence[str]) -> list[str]:
    """Of one migration, in the order of its statements. Tables that it makes itself are empty, and exempt."""
    parts = [part for statement in statements for part in split_statements(statement)]
    exempt = SMALL_TABLES | {made.lower() for part in parts for made in _list_made(part)}
    validated = {table for part in parts for table in _list_validated(part)}
    violations = []
    for part in parts:
        for pattern, advice in RULES.items():
            match = re.search(pattern, part, re.IGNORECASE | re.DOTALL)
            if match and match["table"].lower() not in exempt:
                violations.append(f"`{part[:80]}` {advice}")
        match = SET_NOT_NULL.search(part)
        if match and match["table"].lower() not in exempt | validated:
            violations.append(f"`{part[:80]}` {NOT_NULL_ADVICE}")
    return violations


def split_statements(text: str) -> Iterator[str]:
    """Single statements on one line each, without comments. Bodies of functions are left out."""
    text = re.sub(r"(\$\w*\$).*?\1", "''", text, flags=re.DOTALL)
    text = re.sub(r"--[^\n]*", "", text)
    for part in text.split(";"):
        if statement := " ".join(part.split()):
            yield statement


def _list_made(statement: str) -> list[str]:
    return re.findall(r'^create table (?:if not exists )?"?(\w+)"?', statement, re.IGNORECASE)


def _list_validated(statement: str) -> list[str]:
    return re.findall(r'^alter table (?:only )?"?(\w+)"? validate constraint', statement.lower())
