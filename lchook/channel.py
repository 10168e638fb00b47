"""What one connection to Pega has for itself, and how its parts hang together. `channels.py` has several.

Knows nothing of who picks it, nor of other channels.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from config import Settings
from lchook import channel_parts
from lchook.console.time_series import TimeSeries
from lchook.core.rate_limiter import RateLimiter
from lchook.files.files import Files
from lchook.flows.conversations import Conversations
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.periodic_tasks import PeriodicTasks
from lchook.scope import NO_SCOPE, Scope
from lchook.store import Store, StoreListener
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
    # Where they are kept.
    conversations: Conversations | None
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
        tokens = channel_parts.tokens(settings)
        self.posts.use(channel_parts.dms_client(settings, tokens))
        self.webhook.use(tokens)
        if with_provider:
            self.use_provider()

    def use_provider(self) -> None:
        """Who customers are, they prove by the settings as they are now."""
        if self.signing_keys is not None:
            self.periodic_tasks.remove(self.signing_keys.tick)
        self.signing_keys = channel_parts.signing_keys(self.settings, self.scope.starter(runtime.start_task))
        if self.signing_keys is not None:
            self.periodic_tasks.add(self.signing_keys.tick)
            _publish_keys(self)
        self.chat.use(channel_parts.authenticator(self.settings, self.signing_keys))

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
    files: Files | None,
) -> Channel:
    """The parts of one connection to Pega, and its store opened.

    :param scope: what its tasks and callbacks run in.
    :raises lchook.store.UnknownFormatError: where the store was written by another version.
    """
    connections = Connections(server, bound=scope.bound if scope is not NO_SCOPE else None)
    start_task = scope.starter(runtime.start_task)
    tokens = channel_parts.tokens(settings)
    store = channel_parts.store(settings, folder)
    soon = start_task if runtime.is_gevent() else None
    conversations = channel_parts.conversations(settings, store, connections, soon)
    to_customer = ToCustomer(
        store,
        connections,
        conversations=conversations,
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        on_acknowledgement=metrics.acknowledgement_seconds.observe,
        soon=soon,
    )
    posts = DmsPosts(channel_parts.dms_client(settings, tokens), on_answer=channel_parts.on_answer(metrics, time_series))
    to_dms = ToDms(
        posts,
        store,
        to_customer,
        start_task=start_task,
        max_queue_length=settings.max_queue_length,
        ttl_seconds=settings.outbox_ttl_seconds,
        store_patience_seconds=min(_STORE_PATIENCE_SECONDS, settings.outbox_ttl_seconds),
    )
    own_files = files.of(settings.namespace) if files is not None else None
    chat = Chat(
        authenticator=channel_parts.authenticator(settings, None),
        to_dms=to_dms,
        to_customer=to_customer,
        periodic_tasks=periodic_tasks,
        customer_rate_limiter=RateLimiter(settings.customer_rate, clock=time.monotonic),
        max_message_bytes=settings.max_message_bytes,
        forward_fields=settings.forward_fields,
        connections=connections,
        metrics=metrics,
        files=own_files,
        conversations=conversations,
        conversation_unproven=settings.conversation_unproven == "on",
    )
    agent_files = own_files if settings.attachment_hosts else None
    take_posts = webhook.Webhook(settings, tokens, to_customer, periodic_tasks, metrics, agent_files)
    for tasks in (
        (chat.tick,),
        # These wait for the store, maybe for seconds.
        (to_customer.tick,),
        *(((conversations.tick,),) if conversations is not None else ()),
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
    if conversations is not None:
        listener = replace(
            listener, news=conversations.news, reconnected=channel_parts.both(listener.reconnected, conversations)
        )
    scope.bound(store.open)(scope.listener(listener), scope.starter(runtime.start_service))
    channel = Channel(
        settings,
        scope,
        metrics,
        periodic_tasks,
        store,
        to_customer,
        conversations,
        posts,
        to_dms,
        chat,
        take_posts,
    )
    _publish(channel)
    if conversations is not None:
        _publish_conversations(metrics, conversations)
    channel.use_provider()
    return channel


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


def _publish_conversations(metrics: Metrics, conversations: Conversations) -> None:
    metrics.add_gauge(
        "lch_conversation_followers", "Connections that follow their customer's conversation", conversations.followers
    )
    metrics.add_counts("lch_conversation_events", "What happened to conversations", "event", lambda: conversations.counts)


def _publish_keys(channel: Channel) -> None:
    """There is an identity provider."""
    keys, metrics = channel.signing_keys, channel.metrics
    if keys is not None:
        metrics.drop("lch_key_fetches", "lch_keys_age_seconds")
        metrics.add_counts("lch_key_fetches", "Fetches of the identity provider's keys", "outcome", lambda: keys.counts)
        metrics.add_gauge("lch_keys_age_seconds", "Age of the identity provider's keys", keys.age_seconds)
