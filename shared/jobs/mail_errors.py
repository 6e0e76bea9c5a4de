"""How handing over a mail fails, whatever takes it."""


class MailRejected(Exception):
    """This mail was refused for good (RFC 5321 4.2.1: 5yz). The text is the reply."""


class MailDeferred(Exception):
    """Neither the mail nor a final decision was taken; a later attempt may succeed."""


class MailServerAway(MailDeferred):
    """The mail server does not answer."""
