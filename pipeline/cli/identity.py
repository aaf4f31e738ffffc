"""`elo identity`: who is one person. Each kind of command lies in a file of its own."""

from __future__ import annotations

from . import decisions, policy
from .options import group

app = group("Who is one person: decisions of stewards, and the identity policy.")
decisions.add_to(app)
policy.add_to(app)
