"""Why a measurement does not count."""


class Broken(Exception):
    """A wrong answer, a page that does not come, a listener that is not ours. The message goes into the row."""


def reason(problem: Exception) -> str:
    """Its first line, or its kind where it says nothing."""
    return next(iter(str(problem).splitlines()), type(problem).__name__)
