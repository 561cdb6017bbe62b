"""The commands ``connectors run``, ``create``, ``get``, ``delete`` and ``logs``: one task, as a person runs it.

Here are files read into tasks, texts into inputs, and outcomes shown. How a task is run is :mod:`connectors.local`, how
a server is called :mod:`connectors.client`.
"""
