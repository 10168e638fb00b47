"""Who may follow a conversation: what a client asks for at connect, and why it may not have it. No I/O."""

from __future__ import annotations

from lchook.core.authentication import Identity
from lchook.core.conversation import after_of

OFF = "this site keeps no conversations"
MALFORMED = 'conversation must be {} or {"after": "<the cursor of the last entry that you have>"}'
NOBODY = "say whose conversation it is when you connect: with a token, or with a session"
UNPROVEN = "a conversation is shown to customers with a token, and to those without a name who have a session"
TOO_MANY = "this conversation is open in too many places: close some"


def opt_in(auth: object, identity: Identity, *, keeps: bool, unproven: bool) -> int | str | None:
    """After which number a client wants its customer's conversation; why it may not have it; None where it does not ask.

    :param keeps: whether conversations are kept. :param unproven: whether they are shown without proof.
    """
    asked = auth.get("conversation") if isinstance(auth, dict) else None
    if asked is None:
        return None
    if not keeps:
        return OFF
    after = after_of(asked)
    if after is None:
        return MALFORMED
    if identity.customer_id is None:
        return NOBODY
    return after if identity.proven or identity.by_session or unproven else UNPROVEN
