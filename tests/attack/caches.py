"""Keys of the cache: a tenant in every one, and no way to write another tenant's."""

from itertools import product

from shared.core.cache import CacheKey, CacheKind
from shared.core.errors import NoTenant
from tests.attack.report import Report
from tests.attack.world import World

NAME = "caches"
TRICKY = ("", "x", ":", "a:b", '"]', f"t:{'ten_x'}", "..", "\n")


def attack(world: World, report: Report) -> None:
    for kind in CacheKind:
        report.covers(NAME, kind.name)
    for kind, parts in product(CacheKind, product(TRICKY, TRICKY)):
        acme_key, globex_key = (
            str(CacheKey(world.acme, kind, parts)),
            str(CacheKey(world.globex, kind, parts)),
        )
        report.control(NAME, f"{kind.name} {parts!r}", works=acme_key.startswith(f"t:{world.acme}:"))
        report.attempt(NAME, f"{kind.name} {parts!r}: the same key for both", refused=acme_key != globex_key)
        others = {
            str(CacheKey(world.globex, other, bits))
            for other in CacheKind
            for bits in product(TRICKY, TRICKY)
        }
        report.attempt(NAME, f"{kind.name} {parts!r}: some key of Globex", refused=acme_key not in others)
        for nobody in ("", "acme", f"{world.acme}:x", "ten_*", "*"):
            try:
                CacheKey(nobody, kind, parts)
                made = True
            except NoTenant:
                made = False
            report.attempt(NAME, f"{kind.name} for tenant {nobody!r}", refused=not made)
