"""Emulators as pytest fixtures: import the ones that a conftest needs from :mod:`tests.emulators.fixtures`."""
