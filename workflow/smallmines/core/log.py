"""The logger of the library; a job sends its lines to the log of the rule."""

from __future__ import annotations

import logging

logger = logging.getLogger("smallmines")
