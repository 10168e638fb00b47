"""The parts of a channel that follow from its settings alone, or nearly so. `channel.py` puts them together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from config import Settings
from lchook.console.time_series import TimeSeries
from lchook.core.authentication import Authenticator, Verifier
from lchook.core.tokens import CustomerTokens, Tokens
from lchook.dms.client import DmsClient
from lchook.flows.conversations import Conversations
from lchook.store import Store
from lchook.store.from_url import store_from_url
from lchook.store.group_commit import in_a_thread
from lchook.transport import runtime
from lchook.transport.connections import Connections
from lchook.web.metrics import Metrics

if TYPE_CHECKING:
    from lchook.identity.signing_keys import SigningKeys


def store(settings: Settings, folder: Path) -> Store:
    """Where what is to outlive the process is kept; not open yet."""
    return store_from_url(
        settings.store_url,
        folder=folder,
        namespace=settings.namespace,
        ttl_seconds=settings.mailbox_ttl_seconds,
        size=settings.mailbox_size,
        aside=runtime.native_thread() or in_a_thread,
        checkpoint_aside=runtime.native_thread() or in_a_thread,
        max_queue_length=settings.max_queue_length,
        outbox_size=settings.outbox_size,
        conversation_ttl_seconds=settings.conversation_ttl_seconds,
        conversation_size=settings.conversation_size,
    )


def conversations(
    settings: Settings, store: Store, connections: Connections, soon: Callable[..., object] | None
) -> Conversations | None:
    """The conversations of its customers, if they are kept."""
    if not settings.conversation_ttl_seconds:
        return None
    return Conversations(
        store,
        connections,
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        soon=soon,
    )


def both(reconnected: Callable[[], None], conversations: Conversations) -> Callable[[], None]:
    """What is to be done when the store is back."""

    def both() -> None:
        reconnected()
        conversations.reconnected()

    return both


def on_answer(metrics: Metrics, time_series: TimeSeries | None) -> Callable[[float], None]:
    """Who is told the seconds that DMS took."""
    if time_series is None:
        return metrics.dms_seconds.observe

    def answered(seconds: float) -> None:
        metrics.dms_seconds.observe(seconds)
        time_series.dms_took(seconds)

    return answered


def tokens(settings: Settings) -> Tokens:
    """Those between LCH and DMS."""
    return Tokens(
        issuer=settings.jwt_issuer,
        secret=settings.jwt_secret,
        previous_secret=settings.jwt_secret_previous,
        clock=time.time,
    )


def dms_client(settings: Settings, tokens: Tokens) -> DmsClient:
    """Posts to its DMS."""
    return DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
        semaphore=runtime.bounded_semaphore,
        lean=runtime.lean,
    )


def signing_keys(settings: Settings, start_task: Callable[..., object]) -> SigningKeys | None:
    """The keys of the identity provider, where there is one."""
    if not settings.customer_token_jwks_url:
        return None
    # Its HTTP client and its rules are loaded only where they are used.
    from lchook.identity.key_fetch import KeyFetch
    from lchook.identity.signing_keys import SigningKeys

    return SigningKeys(KeyFetch(settings.customer_token_jwks_url), start_task)


def authenticator(settings: Settings, signing_keys: SigningKeys | None) -> Authenticator:
    """Who may speak, and as whom, by these settings."""
    backends = None
    if settings.customer_token_secret:
        backends = CustomerTokens(
            secret=settings.customer_token_secret,
            previous_secret=settings.customer_token_secret_previous,
            clock=time.time,
        )
    tokens = backends if signing_keys is None else _with_provider(settings, signing_keys, backends)
    # All instances know this secret, and no client does.
    key = hashlib.sha256(b"ids of unnamed customers\n" + settings.jwt_secret.encode()).digest()
    return Authenticator(tokens=tokens, anonymous=settings.anonymous_customers, key=key)


def _with_provider(settings: Settings, signing_keys: SigningKeys, backends: CustomerTokens | None) -> Verifier:
    from lchook.core.provider_tokens import EitherTokens, ProviderTokens

    providers = ProviderTokens(
        signing_keys,
        issuer=settings.customer_token_issuer,
        audience=settings.customer_token_audience,
        claim=settings.customer_token_claim,
        clock=time.time,
    )
    return providers if backends is None else EitherTokens(backends, providers)
