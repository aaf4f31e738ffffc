"""The Faust transport: joins the consumer, the producer and their options, and makes an app use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import confluent_kafka as ck
import faust
from faust.tables import TableManager
from faust.transport import base
from yarl import URL

from .batch import BatchSchema
from .consumer import Consumer, Fetcher
from .options import TransportOptions
from .producer import Producer

CONNECTION_PREFIXES: Final = (
    "bootstrap.",
    "security.",
    "sasl.",
    "ssl.",
    "enable.ssl",
    "socket.",
    "broker.",
    "client.",
    "metadata.",
    "debug",
    "reconnect.",
    "oauth",
    "https.",
)


class PromptTableManager(TableManager):
    """Faust's table manager without its first second of sleep: there are no tables to wait for."""

    async def on_start(self) -> None:
        """Let the subscription begin at once."""
        await self._update_channels()
        await self.recovery.start()


APP_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "store": "memory://",
        "TableManager": PromptTableManager,
        "cython_optimizations": True,  # the compiled paths are off without it
        "topic_disable_leader": True,  # else the app needs a topic of its own to elect a leader
        "web_enabled": False,
        "stream_wait_empty": False,  # a rebalance must not wait for agents: the group would expire
        "stream_buffer_maxsize": 4096,  # batches, not records; must exceed partitions x batches_unacked_max
        "broker_commit_interval": 1.0,
        "consumer_auto_offset_reset": "earliest",
    }
)
"""Faust settings that this transport needs or that make it fast. `producer_threaded` must stay off."""


class Transport(base.Transport):
    """Faust on confluent-kafka, with one message per poll and partition.

    Install it with `configure_app`, or make the app with `create_app`.
    """

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
    Fetcher: ClassVar[Any] = Fetcher

    default_port = 9092
    driver_version = f"confluent-kafka={ck.__version__} librdkafka={ck.libversion()[0]}"

    def __init__(
        self,
        url: list[URL],
        app: Any,
        loop: Any = None,
        *,
        options: TransportOptions,
    ) -> None:
        """Keep the options. `url` names the brokers unless `consumer_config` has `bootstrap.servers`."""
        super().__init__(url, app, loop)
        self.options = options

    @property
    def bootstrap(self) -> str:
        """The brokers as librdkafka wants them."""
        return ",".join(f"{url.host or 'localhost'}:{url.port or self.default_port}" for url in self.url)

    def connection_config(self) -> dict[str, Any]:
        """Return the settings that say how to reach the brokers, for producer and admin client."""
        config = {"bootstrap.servers": self.bootstrap, **self.options.consumer_config}
        return {name: value for name, value in config.items() if name.startswith(CONNECTION_PREFIXES)}


def configure_app(app: faust.App, options: TransportOptions) -> Transport:
    """Make `app` consume and produce through a `Transport`.

    Call it before the first agent or topic is declared.

    The app should have been made with APP_SETTINGS.
    """
    transport = Transport(list(app.conf.broker_consumer), app, options=options)
    app.transport = transport
    app.producer_transport = transport
    return transport


def create_app(app_id: str, bootstrap: str, options: TransportOptions, **settings: Any) -> faust.App:
    """Return a Faust app on this transport.

    Args:
        app_id: Faust's id of the app, for logs and directories; the group is `options.group_id`.
        bootstrap: `host:port`, several separated by commas.
        settings: Faust settings on top of APP_SETTINGS.
    """
    brokers = ";".join(f"kafka://{server.strip()}" for server in bootstrap.split(","))
    app = faust.App(app_id, **{**APP_SETTINGS, "broker": brokers, **settings})
    configure_app(app, options)
    return app


def batch_topic(app: faust.App, names: Iterable[str]) -> Any:
    """Return the Faust topic of one agent that reads batches of the topics `names`."""
    return app.topic(*names, schema=BatchSchema(), key_type=None, value_type=None)


def consumer_of(app: faust.App) -> Consumer:
    """Return the app's consumer, with the type that has rewind, begin, pause, resume and caught_up."""
    consumer = app.consumer
    if not isinstance(consumer, Consumer):
        raise TypeError("the app does not use this transport")
    return consumer
