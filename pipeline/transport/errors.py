"""Failures that stop the worker. Nothing is lost by them: a restart reads from the committed offsets."""

from __future__ import annotations


class TransportError(Exception):
    """The consumer cannot go on: a fatal client error, a refused permission, no offset to start from."""


class ConfigurationError(TransportError):
    """The options contradict each other or the application."""
