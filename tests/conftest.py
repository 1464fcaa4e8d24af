"""Settings all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples everywhere, no files left behind, and no limit that a busy machine would break.
settings.register_profile("project", database=None, deadline=None, derandomize=True)
settings.load_profile("project")
