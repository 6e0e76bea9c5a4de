"""Why a measurement does not count."""


class Broken(Exception):
    """A wrong answer, a page that does not come, a listener that is not ours. The message goes into the row."""
