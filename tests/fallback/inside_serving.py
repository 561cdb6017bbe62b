"""``pyflyte``, in flytekit's own environment, which lacks what its Spark and Snowflake plugins import."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1] / "reference_sdk")

from stand_ins import stand_in_for  # type: ignore[import-not-found]  # noqa: E402 - found by the line above

stand_in_for("pyspark", "snowflake")

from flytekit.clis.sdk_in_container.pyflyte import main  # noqa: E402 - it imports the plugins

main()
