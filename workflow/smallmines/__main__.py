"""`python -m smallmines`: the verbs, where no program `smallmines` is installed."""

from smallmines.cli.main import app

app()
