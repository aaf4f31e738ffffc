"""The collector: events of other people's SDKs and webhooks over HTTP, as touchpoints on Kafka.

`elo collect` runs it. One process, one event loop; several may run behind a load balancer.
"""

from __future__ import annotations

from .server import check_keys, run

__all__ = ("check_keys", "run")
