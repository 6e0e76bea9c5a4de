"""Changes shown as labels with old and new values."""

from shared.ui.decision_trace import Change, list_changes


def test_list_changes_shows_only_differences() -> None:
    before = {"role": "member", "seats": 3, "beta": False, "tags": ["a", "b"]}
    after = {"role": "admin", "seats": 3, "beta": True, "logo": None, "added_at": "today"}
    assert list_changes(before, after) == [
        Change("Added at", "", "today"),
        Change("Beta", "no", "yes"),
        Change("Role", "member", "admin"),
        Change("Tags", "a, b", ""),
    ]
