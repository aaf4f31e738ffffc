"""`elo identity`: who is one person. Each kind of command lies in a file of its own."""

from __future__ import annotations

from . import policy
from .options import group

app = group("Who is one person: the identity policy.")
policy.add_to(app)
