"""The test kit for connector authors, and for this project's own tests.

``connectors.testing.contract`` is what every connector must do, as tests to inherit; ``connectors.testing.fixtures``
are fixtures beside it. These two need pytest, which the extra ``testing`` brings. The others do not:
``connectors.testing.faults`` is a proxy that spoils a platform's answers; ``connectors.testing.platform`` is a hosted
job platform that counts its jobs and makes the faults that real ones make; ``connectors.testing.server`` is a whole
connector service in the test's own process; ``connectors.testing.backend`` calls a service as the Flyte backends do,
and tells what became of each task; ``connectors.testing.virtual_time`` is an event loop on which hours pass at once.
"""
