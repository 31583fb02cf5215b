"""Verbs `smallmines publish …`: send a finished dataset to where others load it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.cli.output import Json, output
from smallmines.core.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Send a finished dataset to where others load it (docs/publishing.md).")


@app.command()
def huggingface(
    repo: Annotated[str, typer.Option("--repo", help="Dataset on the Hub, owner/name; made where there is none.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration of the run whose shards are sent (results/<run>/huggingface).")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Another sealed folder in place of the shards, e.g. results/<run>/dataset.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, their sizes and what the Hub has; send nothing.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace and delete what else the repository holds; its history keeps it.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    json: Json = False,
) -> None:
    """Send the shards of a run, or another sealed folder, to the Hugging Face Hub. The token is read from HF_TOKEN or `hf auth login`."""
    from smallmines.core.layout import Layout
    from smallmines.publish.sealed_folder import sealed_files
    from smallmines.publish.upload import Sender

    with plain_errors():
        if (config is None) == (folder is None):
            raise UserError("one of --config and --folder", "both" if config else "neither", "name the run or the folder")
        place = folder if config is None else Layout(read_config(config).run).huggingface
        assert place is not None
        sender = Sender(repo, replace)
        account = None if dry_run else sender.require_token()
        files = sealed_files(place)
        with output(json) as out:
            if dry_run:
                plan = sender.look(files)
                size = sum(file.size for file in plan.missing)
                out.table(f"{place} and {repo}", plan.rows(), "files")
                state = "there" if plan.remote.exists else "not there, or private without a token"
                out.message(f"{repo}: {state}; {len(plan.missing)} of {len(files)} files would be sent, {size / 1e6:.1f} MB")
                sender.require_free(plan)
                return
            out.message(f"sending {place} to {repo} as {account}")
            plan = sender.send(files, private, out.message)
            if json:
                out.table("", plan.rows(), "files")
            out.message(f"published: {repo} at {plan.remote.commit}, {len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB")
