"""Metrics, logs and the metrics port: consumers of the engine's events. Nothing here decides anything about a call."""
