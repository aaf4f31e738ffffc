"""Takes a published identity policy into use on one partition: at the beginning of a batch, then component by
component.

The policy in force and the position of the work are kept in `elo.state` and committed with the batch that
they belong to, so a crash goes on where it was. From the batch on that takes a policy, everything is judged
by it; a component that consumers were told about under the one before is judged anew when it is next used, or
when its turn comes. Turns begin when every partition has taken the policy, for what is told to the nodes of
another partition must be understood there. A further policy waits until the work is done.
Source: docs/decisions/0015-policy-changes-live.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from functools import lru_cache
from itertools import islice
from typing import Final

import msgspec
import structlog

from ..core.errors import ConfigError
from ..core.messages import Adopted
from ..core.policy import Policy
from ..core.policy_change import PolicyChange, fault_of
from ..core.policy_matching import records_max
from ..core.published import POLICY_KEY, Published, policy_of
from ..core.resolver import Resolver
from . import metrics
from .checkpoint import address_of
from .control import Control
from .crashpoints import reach
from .pace import Pace
from .published import greatest
from .store import Store
from .turns import all_reached, next_blocks, next_components

WORK_KEY: Final = b"p"
STEP: Final = 500  # components judged per batch: 30 ms, 60 ms where half of them change; docs/decisions/0015
PAUSE_FACTOR: Final = 10  # while touches come, a step is followed by so many times its own duration
NOT_LOOKED: Final = -1
BLOCKS: Final = ":"  # the cursor behind all components: what is compared has no type
ALL: Final = "\U0010ffff"  # behind every root

log = structlog.get_logger()
parse: Final = lru_cache(maxsize=8)(policy_of)
"""The policies of all partitions of a worker, each read once, from its text and its model."""


def model_key(version: str) -> bytes:
    """State key of a trained model; it begins like that of the work, for it goes where that goes."""
    return WORK_KEY + version.encode()


class Work(msgspec.Struct):
    """The policy in force, as its text, and what is left to do for it.

    `offset`: next offset of `identity.policy`; `before`: the policy that it replaces, while work is left;
    `cursor`: root of the last component judged, or the last block; `told`: all partitions know that it is in
    use here; `taken`: partition → version that is in use there, as it told; `model`, `model_before`: versions
    of the trained models that the two policies name. These are kept by themselves: a step does not write them
    again.
    """

    text: str = ""
    before: str = ""
    offset: int = 0
    cursor: str = ""
    done: bool = True
    told: bool = True
    taken: dict[str, int] = {}
    model: str = ""
    model_before: str = ""


class Adoption:
    """The policy of one partition. `file`: that of `ELO_IDENTITY`.

    Raises: ConfigError when the file cannot take the place of the policy in force.
    """

    def __init__(
        self,
        control: Control[Published],
        file: Published,
        partition: int,
        partitions: int,
        store: Store,
        resolver: Resolver,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._control = control
        self._file = file
        self._partition = partition
        self._partitions = partitions
        self._store = store
        self._resolver = resolver
        self._looked = NOT_LOOKED
        self._flushed = False
        stored = store.get(WORK_KEY)
        self._stored = stored is not None
        self.work = Work(text=file.text, model=file.model_version)
        if stored is not None:
            self.work = msgspec.json.decode(stored, type=Work)
        self.policy = self._parse(self.work.text, self.work.model)
        self._before = self.policy
        self._used: tuple[str, str, bool] | None = None
        self._check_file()
        self._use()

    def _parse(self, text: str, version: str) -> Policy:
        model = self._store.value(model_key(version)) if version else b""
        if model is None and version == self._file.model_version:
            model = self._file.model  # Nothing is kept yet.
        return parse(text, model or b"")

    def _check_file(self) -> None:
        """A file that would be overlooked is refused, one that is overridden is mentioned."""
        file, policy = self._file.policy, self.policy
        overlooked = greatest(self._file, self._published()) is not self._file
        if file.version == policy.version and file != policy and not overlooked:
            raise ConfigError(
                f"identity policy version {policy.version} is in force with other rules than those of the "
                f"file, write version: {policy.version + 1} into the file, or take the one before"
            )
        if file.version < policy.version:
            log.warning("the identity policy in force is newer than the file",
                        partition=self._partition, version=policy.version, file=file.version)  # fmt: skip

    def _published(self) -> Published | None:
        return self._control.view[1].get(POLICY_KEY.decode())

    @property
    def next_offset(self) -> int:
        """Next offset of `identity.policy` that this partition has not applied in full."""
        return self.work.offset - self.open_steps()

    def for_intake(self) -> Policy:
        """The policy by which touchpoints are read: one that every partition understands."""
        return self.policy if self.work.done or self._all_taken() else self._before

    def open_steps(self) -> int:
        """1 while a change of policy is being worked off."""
        return 0 if self.work.done and self.work.told else 1

    def waiting(self) -> bool:
        """Whether there is something to do, apart from waiting for other partitions."""
        work = self.work
        if work.done and self._control.view[0] != self._looked:
            return True
        return not work.told or self._may_scan()

    def flushes(self) -> bool:
        """Whether the next step writes to the disk."""
        return self.work.told and not self._flushed

    def _may_scan(self) -> bool:
        return not self.work.done and self._all_taken() and self._pace.allows(PAUSE_FACTOR)

    def _all_taken(self) -> bool:
        return all_reached(self.work.taken, self.policy.version, self._partitions)

    def take(self, message: Adopted) -> None:
        """A partition, maybe this one, has taken a policy. Part of the batch under way."""
        work, name = self.work, str(message.partition)
        work.taken = {**work.taken, name: max(work.taken.get(name, 0), message.version)}
        self._save(work)

    def begin(self) -> Work:
        """Take a newer policy into use, if there is one and the work for the last one is done.

        Returns: what `rollback` needs to undo it and what `step` does in the same batch.
        """
        before = copy(self.work)
        offset = self._control.view[0]
        if not self.work.done or offset == self._looked:
            return before
        self._looked = offset
        work = copy(self.work)
        work.offset = offset
        wanted = greatest(self._file, self._published())
        if not self._stored:
            self._keep_model(self._file)
        if wanted.policy.version > self.policy.version and self._may_take(wanted):
            work.before, work.text, work.cursor = work.text, wanted.text, ""
            work.model_before, work.model = work.model, wanted.model_version
            self._keep_model(wanted)
            # Records that are told from here, of people who come now, may be told too early as well.
            compares = PolicyChange(self.policy, wanted.policy).compares
            work.told, work.done = False, not compares and not self._store.has_components()
            if work.done:
                self._drop_before(work)
            self._flushed = False
            log.info("identity policy taken into use", partition=self._partition,
                     version=wanted.policy.version, by=wanted.by, reason=wanted.reason)  # fmt: skip
        if work != self.work or not self._stored:
            self._stored = True
            self._save(work)
            self._use()
            reach("policy.taken")
        return before

    def _keep_model(self, wanted: Published) -> None:
        if wanted.model:
            self._store.put(model_key(wanted.model_version), wanted.model)

    def _drop_before(self, work: Work) -> None:
        """Nobody is judged by the policy before any more."""
        if work.model_before and work.model_before != work.model:
            self._store.put(model_key(work.model_before), None)
        work.before = work.model_before = ""

    def _may_take(self, wanted: Published) -> bool:
        """What cannot take the place of the policy in force is left alone; from a file it is fatal."""
        fault = fault_of(self.policy, wanted.policy)
        if fault and wanted is self._file:
            raise ConfigError(f"the identity policy of the file cannot be used: {fault}")
        if fault:
            log.error(
                "a published identity policy cannot be used", version=wanted.policy.version, fault=fault
            )
        return not fault

    def rollback(self, before: Work) -> None:
        """The batch is void: what `begin`, `take` and `step` did in it has not happened."""
        self.work = copy(before)
        self._looked = NOT_LOOKED
        self._stored = self._store.get(WORK_KEY) is not None
        self._use()
        if self._resolver.adopter is not None:
            self._resolver.adopter.judged.clear()

    def _use(self) -> None:
        """Judge by the policy in force, and by the one before until its components have had their turn."""
        work, resolver = self.work, self._resolver
        used = work.text, work.before, work.done
        if used != self._used:
            self._used = used
            self.policy = self._parse(work.text, work.model)
            self._before = self._parse(work.before, work.model_before) if work.before else self.policy
            resolver.use(self.policy)
            resolver.adopt(None if work.done else PolicyChange(self._before, self.policy))
        if resolver.adopter is not None:
            resolver.adopter.passed = work.cursor if not work.cursor.startswith(BLOCKS) else ALL
        metrics.POLICY_VERSION.labels(self._partition).set(self.policy.version)
        metrics.POLICY_PENDING.labels(self._partition).set(self.open_steps())

    def _save(self, work: Work) -> None:
        self.work = work
        self._store.put(WORK_KEY, msgspec.json.encode(work))

    async def step(self, now_ms: int, flush_all: Callable[[], Awaitable[None]]) -> None:
        """Do one step of the work, as part of the batch under way."""
        work = copy(self.work)
        if not work.told:
            work.told = True
            outbox = self._resolver.outputs.outbox
            for number in range(self._partitions):
                message = Adopted(self._partition, self.policy.version)
                outbox.mail.append((address_of(number, self._partitions), message))
        elif self._may_scan():
            if not self._flushed:
                await flush_all()
                self._flushed = True
            self._pace.begin()
            self._scan(work, now_ms)
            self._pace.end()
        else:
            return
        self._save(work)
        self._use()
        reach("policy.step")

    def _scan(self, work: Work, now_ms: int) -> None:
        """Judge the next components, and then turn the blocks."""
        store, resolver = self._store, self._resolver
        if work.cursor.startswith(BLOCKS):
            self._turn_blocks(work, now_ms)
            return
        found = list(islice(next_components(store, work.cursor), STEP))
        for root, value in found:
            component = store.component(root, value)
            if component is not None and not component.redirect:
                resolver.adopt_next(component, now_ms)
        if len(found) == STEP:
            work.cursor = found[-1][0]
        elif records_max(self._before.matching) != records_max(self.policy.matching):
            work.cursor = BLOCKS
        else:
            self._end(work)

    def _turn_blocks(self, work: Work, now_ms: int) -> None:
        """A record that was told early has entered blocks of partitions that had another policy."""
        found = list(islice(next_blocks(self._store, work.cursor), STEP))
        for block in found:
            self._resolver.turn_block(block, now_ms)
        if len(found) == STEP:
            work.cursor = found[-1]
        else:
            self._end(work)

    def _end(self, work: Work) -> None:
        work.done, work.cursor = True, ""
        self._drop_before(work)
