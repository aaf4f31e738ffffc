"""The bytes that leave and enter Elo: Avro in the Confluent wire format, ids from a local registry file."""
