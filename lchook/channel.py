"""What one connection to Pega has for itself, and how its parts hang together. `channels.py` has several.

Knows nothing of who picks it, nor of other channels.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config import Settings
from lchook.console.time_series import TimeSeries
from lchook.core.authentication import Authenticator, Verifier
from lchook.core.rate_limiter import RateLimiter
from lchook.core.tokens import CustomerTokens, Tokens
from lchook.dms.client import DmsClient
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.periodic_tasks import PeriodicTasks
from lchook.scope import NO_SCOPE, Scope
from lchook.store import Store, StoreListener
from lchook.store.from_url import store_from_url
from lchook.store.group_commit import in_a_thread
from lchook.transport import runtime
from lchook.transport.connections import Connections
from lchook.transport.server import Server
from lchook.web import webhook
from lchook.web.chat import Chat
from lchook.web.metrics import Metrics

if TYPE_CHECKING:
    from lchook.identity.signing_keys import SigningKeys

# For how long a message that came in waits for a store that fails. Its sender sees no outcome meanwhile.
_STORE_PATIENCE_SECONDS = 30.0
# For posts under way of a connection that was taken out of the file.
_END_SECONDS = 60.0


@dataclass
class Channel:
    """What one connection to Pega has for itself: its customers, messages, repeats, rates and figures meet no other's."""

    settings: Settings
    scope: Scope
    metrics: Metrics
    periodic_tasks: PeriodicTasks
    store: Store
    to_customer: ToCustomer
    posts: DmsPosts
    to_dms: ToDms
    chat: Chat
    webhook: webhook.Webhook
    # Of the customers' identity provider, where there is one.
    signing_keys: SigningKeys | None = None

    def apply(self, settings: Settings, *, with_provider: bool) -> None:
        """Go on with these settings, with all that is stored, under way and connected.

        :param with_provider: who customers are, they prove in another way.
        """
        self.settings = settings
        tokens = _tokens(settings)
        self.posts.use(_dms_client(settings, tokens))
        self.webhook.use(tokens)
        if with_provider:
            self.use_provider()

    def use_provider(self) -> None:
        """Who customers are, they prove by the settings as they are now."""
        if self.signing_keys is not None:
            self.periodic_tasks.remove(self.signing_keys.tick)
        self.signing_keys = _signing_keys(self.settings, self.scope.starter(runtime.start_task))
        if self.signing_keys is not None:
            self.periodic_tasks.add(self.signing_keys.tick)
            _publish_keys(self)
        self.chat.use(_authenticator(self.settings, self.signing_keys))

    def end(self) -> None:
        """It is there no more: what is being posted is finished first."""
        deadline = time.monotonic() + _END_SECONDS
        while self.to_dms.unfinished() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.periodic_tasks.stop()
        self.store.close()


def build(
    settings: Settings,
    scope: Scope,
    metrics: Metrics,
    periodic_tasks: PeriodicTasks,
    *,
    folder: Path,
    server: Server,
    time_series: TimeSeries | None,
) -> Channel:
    """The parts of one connection to Pega, and its store opened.

    :param scope: what its tasks and callbacks run in.
    :raises lchook.store.UnknownFormatError: where the store was written by another version.
    """
    connections = Connections(server, bound=scope.bound if scope is not NO_SCOPE else None)
    start_task = scope.starter(runtime.start_task)
    tokens = _tokens(settings)
    store = _store(settings, folder)
    to_customer = ToCustomer(
        store,
        connections,
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        on_acknowledgement=metrics.acknowledgement_seconds.observe,
        soon=start_task if runtime.is_gevent() else None,
    )
    posts = DmsPosts(_dms_client(settings, tokens), on_answer=on_answer(metrics, time_series))
    to_dms = ToDms(
        posts,
        store,
        to_customer,
        start_task=start_task,
        max_queue_length=settings.max_queue_length,
        ttl_seconds=settings.outbox_ttl_seconds,
        store_patience_seconds=min(_STORE_PATIENCE_SECONDS, settings.outbox_ttl_seconds),
    )
    chat = Chat(
        authenticator=_authenticator(settings, None),
        to_dms=to_dms,
        to_customer=to_customer,
        periodic_tasks=periodic_tasks,
        customer_rate_limiter=RateLimiter(settings.customer_rate, clock=time.monotonic),
        max_message_bytes=settings.max_message_bytes,
        forward_fields=settings.forward_fields,
        connections=connections,
        metrics=metrics,
    )
    take_posts = webhook.Webhook(settings, tokens, to_customer, periodic_tasks, metrics)
    for tasks in (
        (chat.tick,),
        # These wait for the store, maybe for seconds.
        (to_customer.tick,),
        (to_dms.tick,),
        (to_dms.sweep,),
    ):
        periodic_tasks.add(*tasks)
    listener = StoreListener(
        due=to_customer.due,
        elsewhere=to_customer.deliver_pending,
        now=lambda customer_id, text: to_customer.send_transient(customer_id, json.loads(text)),
        reconnected=to_customer.reconnected,
    )
    scope.bound(store.open)(scope.listener(listener), scope.starter(runtime.start_service))
    channel = Channel(
        settings,
        scope,
        metrics,
        periodic_tasks,
        store,
        to_customer,
        posts,
        to_dms,
        chat,
        take_posts,
    )
    _publish(channel)
    channel.use_provider()
    return channel


def _store(settings: Settings, folder: Path) -> Store:
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
    )


def on_answer(metrics: Metrics, time_series: TimeSeries | None) -> Callable[[float], None]:
    """Who is told the seconds that DMS took."""
    if time_series is None:
        return metrics.dms_seconds.observe

    def answered(seconds: float) -> None:
        metrics.dms_seconds.observe(seconds)
        time_series.dms_took(seconds)

    return answered


def _tokens(settings: Settings) -> Tokens:
    """Those between LCH and DMS."""
    return Tokens(
        issuer=settings.jwt_issuer,
        secret=settings.jwt_secret,
        previous_secret=settings.jwt_secret_previous,
        clock=time.time,
    )


def _dms_client(settings: Settings, tokens: Tokens) -> DmsClient:
    """Posts to the DMS of these settings."""
    return DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
    )


def _signing_keys(settings: Settings, start_task: Callable[..., object]) -> SigningKeys | None:
    """The keys of the identity provider, where there is one."""
    if not settings.customer_token_jwks_url:
        return None
    # Its HTTP client and its rules are loaded only where they are used.
    from lchook.identity.key_fetch import KeyFetch
    from lchook.identity.signing_keys import SigningKeys

    return SigningKeys(KeyFetch(settings.customer_token_jwks_url), start_task)


def _authenticator(settings: Settings, signing_keys: SigningKeys | None) -> Authenticator:
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


def _publish(channel: Channel) -> None:
    metrics, to_dms, to_customer, chat = channel.metrics, channel.to_dms, channel.to_customer, channel.chat
    metrics.add_store(channel.store)
    metrics.add_gauge("lch_connections", "Clients connected", chat.sockets)
    metrics.add_gauge("lch_customers", "Customers who are here", to_customer.customers)
    metrics.add_gauge("lch_messages_under_way", "Messages to DMS without an outcome yet", to_dms.pending)
    metrics.add_gauge("lch_messages_unacknowledged", "Messages sent and not acknowledged yet", to_customer.unacknowledged)
    metrics.add_counts("lch_deliveries", "What became of messages to customers", "outcome", lambda: to_customer.counts)
    metrics.add_counts("lch_clients", "What happened to connections and their messages", "event", lambda: chat.counts)
    metrics.add_counts("lch_outbox_events", "What happened to messages to DMS that waited", "event", lambda: to_dms.counts)
    metrics.add_counts(
        "lch_dms_retries", "Further tries to post to DMS", "reason", lambda: {"not_taken": to_dms.counts["tried_again"]}
    )


def _publish_keys(channel: Channel) -> None:
    """There is an identity provider."""
    keys, metrics = channel.signing_keys, channel.metrics
    if keys is not None:
        metrics.drop("lch_key_fetches", "lch_keys_age_seconds")
        metrics.add_counts("lch_key_fetches", "Fetches of the identity provider's keys", "outcome", lambda: keys.counts)
        metrics.add_gauge("lch_keys_age_seconds", "Age of the identity provider's keys", keys.age_seconds)
