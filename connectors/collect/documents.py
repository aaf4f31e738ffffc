"""The settings documents that browser SDKs ask for before they send: no destinations, everything to here."""

from __future__ import annotations

from typing import Any


def segment_settings(write_key: str, scheme: str, host: str) -> dict[str, Any]:
    """For @segment/analytics-next: GET /v1/projects/KEY/settings on its `cdnURL`."""
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{host}/v1",
                "protocol": scheme,
                "addBundledMetadata": True,
                "unbundledIntegrations": [],
                "bundledConfigIds": [],
                "unbundledConfigIds": [],
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": {"__default": {"enabled": True}}, "identify": {"__default": {"enabled": True}},
                 "group": {"__default": {"enabled": True}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }  # fmt: skip


def rudder_settings(write_key: str, source: str) -> dict[str, Any]:
    """For @rudderstack/analytics-js: GET /sourceConfig/?writeKey=KEY on its `configUrl`."""
    return {
        "source": {
            "id": source,
            "name": source,
            "writeKey": write_key,
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "enabled": True,
            "workspaceId": "elo",
            "destinations": [],
            "connections": [],
            "sourceDefinition": {"name": "Javascript", "type": None},
            "updatedAt": "1970-01-01T00:00:00.000Z",
            "dataplanes": {},
        },
        "updatedAt": "1970-01-01T00:00:00.000Z",
        "consentManagementMetadata": {"providers": []},
    }
