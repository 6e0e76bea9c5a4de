"""An accepted address is the mailbox that gets the mail."""

import pytest

from shared.core.errors import Invalid
from shared.identity import email_addresses


@pytest.mark.parametrize(
    "text",
    ["ann@acme.test", "  Ann.Lind+work@ACME.test ", "o'neill@a-b.example", "a=b@acme.test", "x?y@acme.test"],
)
def test_ordinary_address_is_accepted_in_lower_case(text: str) -> None:
    assert email_addresses.parse_address(text) == text.strip().lower()


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?=61=6e=6e?=@acme.test",
        "=?x?q?collab=40psres.net=3e=00?=foo@example.com",
        "ann=?utf-8?q?x?=@acme.test",
        ".ann@acme.test",
        "ann.@acme.test",
        "ann..lind@acme.test",
        '"ann lind"@acme.test',
        "ann@[127.0.0.1]",
        "ann@acme",
        "ann@acme..test",
        "ann@-acme.test",
        "ann@acme.test.",
        "ann@b@acme.test",
        "ann@acme.test\nbcc:x@y.test",
        "änn@acme.test",
        f"{'a' * 65}@acme.test",
        f"a@{'b' * 250}.test",
        "",
    ],
)
def test_address_of_another_mailbox_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        email_addresses.parse_address(text)
    assert set(caught.value.fields) == {"email"}
