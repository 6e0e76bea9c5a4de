"""The rows of the bench and their goals, in the order in which they are printed. The only table of them.

A control (`name!what`) measures something that has to miss the goal of its row: it shows that the row can tell good
from bad. One commit changes a goal and says why.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Goal:
    """`faster`: the ratio is theirs to ours and at least `bound`; otherwise it is ours to theirs and at most `bound`."""

    name: str
    bound: float
    faster: bool = False

    @property
    def bound_text(self) -> str:
        return f"{'>=' if self.faster else '<='} {self.bound}"

    def is_met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.faster else ratio <= self.bound

    @property
    def control_of(self) -> str:
        """The row this is a control of, "" when it is a row itself."""
        row, mark, _ = self.name.partition("!")
        return row if mark else ""


def with_control(goal: Goal, suffix: str) -> tuple[Goal, Goal]:
    return goal, replace(goal, name=f"{goal.name}!{suffix}")


GOALS = [
    *with_control(Goal("decision/bare3", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@10", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@10k", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@100k", 2.0), "dataclass"),
    *with_control(Goal("decision/casbin", 2_000, faster=True), "dataclass"),
    *with_control(Goal("decision/casbin-fast", 150, faster=True), "dataclass"),
    *with_control(Goal("decision/casbin-fast@100k", 60, faster=True), "dataclass"),
    *with_control(Goal("decision/cedar", 200, faster=True), "dataclass"),
    *with_control(Goal("decision/openfeature", 25, faster=True), "dataclass"),
    *with_control(Goal("decision/trace", 8.0), "sentences"),
    *with_control(Goal("decision/trace-first", 40.0), "sentences"),
    *with_control(Goal("entitlement-visible/notify", 2.0), "ttl"),
    *with_control(Goal("entitlement-visible/notify@100k", 3.0), "ttl"),
    # A digest and a check that the body is JSON cost 1.55 and 1.8 of the digest alone.
    *with_control(Goal("envelope/hmac", 1.8), "json"),
    *with_control(Goal("envelope/hmac@64k", 1.9), "json"),
    *with_control(Goal("envelope/construct-event", 80, faster=True), "json"),
    *with_control(Goal("api/key", 2.0), "uncompiled"),  # beside the same handler without a key
    *with_control(Goal("api/list", 1.5), "one-by-one"),  # of 50 members, beside its service
    *with_control(Goal("api/idempotent", 1.3), "twice"),  # beside the same request without a key
    *with_control(Goal("tracing/event", 1.1), "steps"),  # CPU time of an event, beside the same one untraced
    *with_control(Goal("intake/bare", 1.5), "orm"),
    *with_control(Goal("intake/edge-cpu", 2.0), "orm"),
    *with_control(Goal("intake/orm", 15, faster=True), "sdk"),
    *with_control(Goal("intake-storm/calm", 1.1), "single"),
    *with_control(Goal("intake-storm/calm@90", 1.1), "single"),
    # An event in a batch of 1,000 that counts once, beside COPY into a table with the same key.
    *with_control(Goal("usage/ingest", 8.0), "single"),
    # A month of a million events, added up again, beside one GROUP BY.
    *with_control(Goal("usage/rollup", 3.0), "by-hour"),
    # p99 of a quiet tenant while 100 others flood the process at 20 times what it serves, by the p99 without them.
    *with_control(Goal("neighbour/requests", 1.2), "fifo"),
    # Jobs that begin before that of a quiet tenant, by the flooding tenants and the slots of the lane.
    *with_control(Goal("neighbour/jobs", 1.2), "fifo"),
    # An event of our own code under a hard limit, beside one INSERT in the same kind of transaction.
    *with_control(Goal("quota/record", 3.0), "recount"),
    # One unit of a counter that 16 clients ask at once, beside an UPDATE of one row.
    *with_control(Goal("quota/hot", 20, faster=True), "unleased"),
    # Deliveries a second to a local receiver, with 1,000 endpoints, by 500.
    *with_control(Goal("webhooks/deliveries", 1.0, faster=True), "one-by-one"),
    # p95 of one tenant's deliveries while another one's endpoint hangs, by the p95 without it.
    *with_control(Goal("webhooks/dead-neighbour", 1.25), "unlimited"),
    *with_control(Goal("audit/large-transaction", 1.5), "hot"),  # 8,000 events and 1,000, cost of one
    *with_control(Goal("audit/old-snapshot", 1.5), "hot"),  # beside an open snapshot and without
    *with_control(
        Goal("audit/verify-new@100x", 1.5), "whole"
    ),  # a log with 100 times the events, nothing new
    # Time of one event in the daily verification, beside 20 µs: 50,000 events a second. Its control takes them one by one.
    *with_control(Goal("audit/verify-rate", 1.0), "alone"),
    # Megabytes by which a process grows while it exports a million rows.
    *with_control(Goal("export/memory", 50), "kept"),
    *with_control(Goal("export/signed-memory", 50), "kept"),  # of an audit log, with the proof of its chain
    # p95 of a page in a database with 100 times the tenants.
    *(
        goal
        for name in (
            *("tenants", "newest-tenants", "tenants-of-user", "audit-all-tenants", "request-events"),
            *("overview", "timeline", "visitors-audit"),
            *("members", "member-search", "audit", "audit-search"),
        )
        for goal in with_control(Goal(f"growth/{name}", 1.5), "scan")
    ),
    # It reads the names of all tenants: under row security only comparisons that leak nothing may use an index.
    *with_control(Goal("growth/tenant-search", 20), "scan"),
    *with_control(Goal("list/rls", 1.1), "scan"),
    *with_control(Goal("list/rls@1e6", 1.2), "scan"),
    *with_control(Goal("list/rls@one-large-tenant", 1.3), "scan"),
    *with_control(Goal("page/nicegui-cold", 1.1), "heavy"),
    *with_control(Goal("page/streamlit-cold", 0.45), "heavy"),
    *with_control(Goal("page/first-paint", 0.6), "table"),
    *with_control(Goal("page/kilobytes", 1.0), "heavy"),
    *with_control(Goal("page/nicegui-kilobytes", 1.0), "heavy"),
    *with_control(Goal("page/streamlit-kilobytes", 0.4), "heavy"),
    *with_control(Goal("filter/django", 1.2), "heavy"),
    *with_control(Goal("filter/django-sent", 1.7), "heavy"),
    *with_control(Goal("filter/ws-bytes", 1.0), "heavy"),  # of 4 KB on the wire
    *with_control(Goal("event/django", 1.7), "heavy"),
]
