"""Before and after, in words."""

from shared.ui.why import Change, changes


def test_only_what_differs_is_shown() -> None:
    before = {"role": "member", "seats": 3, "beta": False, "tags": ["a", "b"]}
    after = {"role": "admin", "seats": 3, "beta": True, "logo": None, "added_at": "today"}
    assert changes(before, after) == [
        Change("Added at", "", "today"),
        Change("Beta", "no", "yes"),
        Change("Role", "member", "admin"),
        Change("Tags", "a, b", ""),
    ]
