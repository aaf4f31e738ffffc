"""`elo identity`: who is one person. Each kind of command lies in a file of its own."""

from __future__ import annotations

from . import compare, decisions, evaluate, explain, policy
from .options import group

app = group(
    "Who is one person: decisions of stewards, the identity policy, and matching without identifiers."
)
decisions.add_to(app)
policy.add_to(app)
evaluate.add_to(app)
explain.add_to(app)
compare.add_to(app)
