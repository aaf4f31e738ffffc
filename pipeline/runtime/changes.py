"""What changes on a partition while it works: the identity policy and the segment definitions.

Both are taken into use at the beginning of a batch and worked off in steps. The policy comes first: a
definition is evaluated over profiles that the policy in force has judged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..core.messages import Adopted, Filled, Taken
from ..core.outbox import Outbox
from . import adoption, definitions
from .adoption import Adoption
from .definitions import Definitions

State = tuple[adoption.Work, definitions.State]


class Changes:
    """The changes of one partition. The methods are those of its two parts."""

    def __init__(self, adoption: Adoption, definitions: Definitions) -> None:
        self.adoption = adoption
        self.definitions = definitions

    def waiting(self, caught_up: bool = True, behind: bool = False) -> bool:
        """Whether there is something to do now, apart from waiting for other partitions.

        `caught_up`: no touch waits. Changes of the policy are worked off only then. `behind`: many do.
        """
        if self.adoption.waiting():
            return caught_up
        return not self.adoption.open_steps() and self.definitions.waiting(behind)

    def take(self, message: Filled | Taken | Adopted) -> None:
        """News of this or another partition. Part of the batch under way."""
        if isinstance(message, Adopted):
            self.adoption.take(message)
        else:
            self.definitions.take(message)

    def acknowledge(self, outbox: Outbox) -> None:
        """Tell whose fills have arrived in the batch under way."""
        self.definitions.acknowledge(outbox)

    def begin(self, touches_next: int) -> State:
        """Take what is new into use. Returns what `rollback` needs."""
        before = self.adoption.begin()
        return before, self.definitions.begin(touches_next)

    def rollback(self, before: State) -> None:
        """The batch is void."""
        self.adoption.rollback(before[0])
        self.definitions.rollback(before[1])

    async def step(self, now_ms: int, flush_all: Callable[[], Awaitable[None]], behind: bool = False) -> None:
        """Do one step of the work, as part of the batch under way, if it is still its turn."""
        if self.adoption.open_steps():
            await self.adoption.step(now_ms, flush_all)
        else:
            await self.definitions.step(now_ms, flush_all)

    def flushes(self) -> bool:
        """Whether the next step writes what is committed to the disk: it reads components from there."""
        return self.adoption.flushes() if self.adoption.open_steps() else self.definitions.flushes()

    def open_steps(self) -> int:
        """How many changes are being worked off."""
        return self.adoption.open_steps() + self.definitions.open_steps()

    def note(self) -> dict[str, int]:
        """Up to which offsets changes are applied, and the version of the policy in force: for the note
        beside the committed offset.
        """
        return {
            "defs": self.definitions.next_offset,
            "policy": self.adoption.next_offset,
            "policy_version": self.adoption.policy.version,
        }

    def close(self) -> None:
        """Close the reader of the history, if there is one."""
        self.definitions.close()
