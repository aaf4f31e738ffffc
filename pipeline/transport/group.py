"""Membership in the consumer group: subscription, followers, and how Faust is told of a rebalance.

Faust is told of every change of the assignment as of a complete rebalance of its own: generation, revoked,
assigned. Whatever Faust drops on the way (it empties its queues and skips messages of an older generation) is
handed over again from memory: see `resume_flow`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import confluent_kafka as ck
from faust.types.tuples import TP

from .base import client_logger, logger
from .errors import ConfigurationError
from .offsets import OffsetCommitter
from .partition import Partition


class GroupMember(OffsetCommitter):
    """Subscribes, keeps the assigned partitions, and passes changes on to Faust."""

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the leading topics and start the pump. Followers come with their leads."""
        names = set(topics)
        follows = {follower: lead for follower, lead in self.options.follows.items() if follower in names}
        leads = sorted(names - set(follows))
        orphans = sorted(follower for follower, lead in follows.items() if lead not in names)
        if orphans:
            raise ConfigurationError(f"no agent reads the lead topic of {', '.join(orphans)}")
        if not leads:
            return
        self._followers = {lead: sorted(f for f in follows if follows[f] == lead) for lead in leads}
        starting = self._client is None
        if starting:
            self._client = self._new_client()
        self._client.subscribe(
            leads, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        if starting:
            self.add_future(self._pump())
            self.add_future(self._tell_faust())

    def _new_client(self) -> Any:
        config = self.options.client_config(cast(Any, self.transport).bootstrap)
        config["error_cb"] = self._on_client_error
        config["on_commit"] = self._on_commit
        return ck.Consumer(config, logger=client_logger)

    def _with_followers(self, parts: Iterable[Any]) -> list[TP]:
        """Return the given partitions and those that follow them."""
        tps: list[TP] = []
        for part in parts:
            tps.append(TP(part.topic, part.partition))
            tps.extend(
                TP(follower, part.partition)
                for follower in self._followers.get(part.topic, ())
                if part.partition == 0 or follower not in self.options.lone
            )
        return tps

    def _on_assign(self, client: Any, parts: list[Any]) -> None:
        with self._callback():
            tps = self._with_followers(parts)
            begun = [ck.TopicPartition(*tp) for tp in tps if tp.topic not in self.options.held]
            client.incremental_assign(begun)
            if begun:
                client.resume(begun)  # the client may remember a pause from an earlier ownership
            for tp in tps:
                self._partitions[tp] = Partition(tp, begun=tp.topic not in self.options.held)
            self._check_room()
            if tps and self.options.on_assigned is not None:
                self.options.on_assigned(set(tps))
            if tps or not self._generation:
                self._start_rebalance()

    def _check_room(self) -> None:
        """Refuse an assignment whose batches could fill Faust's queue: handing over would block the pump."""
        needed = len(self._partitions) * self.options.batches_unacked_max
        if needed > self.app.conf.stream_buffer_maxsize:
            raise ConfigurationError(f"stream_buffer_maxsize must be at least {needed} for these partitions")

    def _on_revoke(self, client: Any, parts: list[Any]) -> None:
        with self._callback():
            tps = [tp for tp in self._with_followers(parts) if tp in self._partitions]
            if tps and self.options.on_revoked is not None:
                self.options.on_revoked(set(tps))
            lost = [self._partitions.pop(tp) for tp in tps]
            for tp in tps:
                self._news.pop(tp, None)
                self._offered.pop(tp, None)
            client.incremental_unassign(
                [ck.TopicPartition(*partition.tp) for partition in lost if partition.begun]
            )
            self._seeking.difference_update(tps)
            if tps:
                self._revoked.update(tps)
                self._start_rebalance()

    def _on_lost(self, client: Any, parts: list[Any]) -> None:
        logger.warning(
            "the group took %d partitions away: session expired or the loop was blocked", len(parts)
        )
        self._on_revoke(client, parts)

    @contextlib.contextmanager
    def _callback(self) -> Iterator[None]:
        """Keep the exception of a rebalance callback, which the client may hide or put in its own words."""
        try:
            yield
        except BaseException as error:
            self._callback_error = self._callback_error or error
            raise

    def _start_rebalance(self) -> None:
        """Make what Faust holds stale and stop the flow; `_tell_faust` does the rest outside the callback."""
        if self._closed or self.should_stop or self.app.should_stop:
            return  # Faust would close the client before the last commit
        self.stats.rebalances += 1
        self._generation += 1
        self.app.consumer_generation_id = self._generation
        if not self.app.rebalancing:
            self.app.on_rebalance_start()
        self.stop_flow()
        self._rebalanced.set()

    async def _tell_faust(self) -> None:
        """Pass each change of the assignment on to Faust, one at a time; several may be told as one."""
        while not self.should_stop:
            await self._rebalanced.wait()
            self._rebalanced.clear()
            if self.app.should_stop:
                return
            revoked, self._revoked = self._revoked, set()
            generation = self._generation
            if revoked:
                await self.on_partitions_revoked(revoked)
            if not self.app.rebalancing:  # Faust finished an earlier one in between
                self.app.on_rebalance_start()
            if generation == self._generation:
                await self.on_partitions_assigned(set(self._partitions), generation)
                self._told_generation = generation

    def resume_flow(self) -> None:
        """Called by Faust after it has emptied its queues: take back what it dropped."""
        super().resume_flow()
        for tp, partition in self._partitions.items():
            batches, records = partition.put_back()
            if batches:
                self._news[tp] = partition
            self.stats.batches_put_back += batches
            self.stats.records_put_back += records
