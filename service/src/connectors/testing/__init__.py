"""The test kit for connector authors, and for this project's own tests.

``connectors.testing.platform`` is a hosted job platform that counts its jobs and makes the faults that real ones make;
``connectors.testing.backend`` calls a connector service as the Flyte backends do, and tells what became of each task.
Neither needs pytest, and neither starts a connector service.
"""
