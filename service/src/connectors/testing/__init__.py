"""The test kit for connector authors, and for this project's own tests.

``connectors.testing.contract`` is what every connector must do, as tests to inherit; it needs pytest.
``connectors.testing.faults`` is a proxy that spoils a platform's answers; ``connectors.testing.platform`` is a hosted
job platform that counts its jobs and makes the faults that real ones make; ``connectors.testing.backend`` calls a
connector service as the Flyte backends do, and tells what became of each task. These three need no pytest, and none
starts a connector service.
"""
