"""The Avro schemas of every topic, shipped as package data: `<subject>/v<version>.avsc` and `registry.json`.

A committed file of them never changes: a change is a new version with a new id. `pipeline.wire.registry`
reads them. `segments.schema.json` is the JSON Schema of segment definitions, for editors, printed from code.
"""
