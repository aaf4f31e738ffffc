"""The Avro schemas of every topic, shipped as package data: `<subject>/v<version>.avsc` and `registry.json`.

A committed file never changes: a change is a new version with a new id. `pipeline.wire.registry` reads them.
"""
