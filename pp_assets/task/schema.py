"""Moved to pp_resources.json_schema."""

from pp_resources.json_schema import *  # noqa: F403
