"""Routes that compare the beginning of an address first: most of many routes don't match."""

from typing import Any

from starlette.routing import Match, Route
from starlette.types import Scope


class LiteralFirst(Route):
    """A route whose path begins with literal text, which every address of it has."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # as the other base class takes them
        super().__init__(*arguments, **options)
        self._literal = self.path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """An app that is mounted below a path leaves all of it to Starlette."""
        if not scope.get("root_path") and not scope["path"].startswith(self._literal):
            return Match.NONE, {}
        return super().matches(scope)
