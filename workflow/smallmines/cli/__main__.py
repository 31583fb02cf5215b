"""`python -m smallmines.cli`."""

from smallmines.cli.main import app

app()
