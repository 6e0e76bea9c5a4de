"""What a page says after an action that may need a second operator."""

from shared.backoffice.approvals import Submission


def describe_outcome(submission: Submission, title: str, detail: str) -> tuple[str, str]:
    """Title and detail of the toast. `title`, `detail`: where the action was carried out."""
    if not submission.is_waiting:
        return title, detail
    return "Asked for approval.", "Nothing has changed yet. Another operator has 24 hours to approve it."
