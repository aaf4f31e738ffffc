"""Delivery: membership changes from `segments.membership` to HTTP destinations, signed and in order.

`service` runs one process. Each destination is a `delivery` with a consumer group of its own, so one that
hangs stops nobody else. What is decided stands in pure modules: `lane` (order), `backoff` (when again),
`verdict` (what an answer means), `template` (bodies). It must not know how changes come about.
"""
