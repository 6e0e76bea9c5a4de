"""A browser's own name for itself, in words a person recognises. A hint, nothing depends on it."""

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


def name(agent: str) -> str:
    """As in: Chrome on macOS."""
    browser = next((said for mark, said in BROWSERS if mark in agent), "Unknown browser")
    system = next((said for mark, said in SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser
