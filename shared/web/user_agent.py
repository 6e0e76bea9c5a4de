"""Describe a User-Agent header for people. Only a hint: nothing depends on it."""

SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)


def describe(agent: str) -> str:
    """Such as "Chrome on macOS"."""
    browser = next((label for mark, label in BROWSERS if mark in agent), "Unknown browser")
    system = next((label for mark, label in SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser
