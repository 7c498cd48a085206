"""Chooses tile or band sizes from memory and arithmetic; forecasts for `--dry-run`."""
