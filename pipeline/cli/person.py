"""How commands name one person, and where they look: identifiers in any spelling, and `elo.state`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import fail

if TYPE_CHECKING:
    from ..core.facet import Facet
    from ..core.node import Profile
    from ..core.policy import Policy
    from ..runtime.lookup import Found, Lookup
    from ..settings import Settings


def open_lookup(settings: Settings) -> tuple[Policy, Lookup]:
    """The identity policy, and the way to the state of a broker that answers."""
    from ..runtime.lookup import Lookup
    from ..runtime.published import policy_of_workers
    from .kafka import connect

    connect(settings)
    policy = policy_of_workers(settings).policy
    return policy, Lookup(settings, policy)


def normalised(identifier: str, policy: Policy) -> str:
    """An identifier as it is kept, from any spelling. Ends the command when it cannot be one."""
    from ..core.normalise import Normaliser

    kind, separator, value = identifier.partition(":")
    if not separator or kind not in policy.rules:
        fail(f"write the identifier as type:value with one of the types {', '.join(policy.rules)}")
    normal = Normaliser(policy).parse(identifier)
    if normal is None:
        fail(f"{value!r} cannot identify anybody as {kind}: it is blocked or not valid")
    return normal


def find_person(lookup: Lookup, policy: Policy, name: str) -> tuple[Found, str]:
    """The component of an identifier or a profile id, and the identifier; for a profile id, its anchor.

    Raises NotFound.
    """
    from ..runtime.lookup import PROFILE_ID

    if PROFILE_ID.fullmatch(name):
        found, profile = lookup.by_profile(name)
        return found, profile.anchor[2]
    identifier = normalised(name, policy)
    return lookup.by_identifier(identifier), identifier


def find_profile(lookup: Lookup, policy: Policy, name: str) -> tuple[Profile, dict[str, Facet]]:
    """The profile of an identifier or a profile id, and its facets by identifier.

    Ends the command when the identifier belongs to nobody. Raises NotFound.
    """
    found, identifier = find_person(lookup, policy, name)
    profile = found.profile_of(identifier)
    if profile is None:
        fail(f"{identifier} belongs to nobody: it was only seen beside others, see `elo why {identifier}`")
    look = found.component.look
    return profile, {one: facet for one in profile.identifiers if (facet := look(one)) is not None}
