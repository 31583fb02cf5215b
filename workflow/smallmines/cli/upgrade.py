"""The verb `smallmines upgrade`."""

from __future__ import annotations

from smallmines.cli.console import ConfigPath, plain_errors, read_config, show


def upgrade(config: ConfigPath) -> None:
    """Take over a finished run that an earlier version made: nothing is downloaded or computed again that would be the same."""
    from smallmines.core.upgrade import upgrade as take_over

    with plain_errors():
        settings = read_config(config)
        done = take_over(settings.run)
    for old, new in done.moved.items():
        print(f"moved {old} to {new}")
    rows = [
        {"rule": rule, "accepted": done.accepted.get(rule, 0), "made again": done.left.get(rule, 0)}
        for rule in sorted({*done.accepted, *done.left})
    ]
    if not rows:
        print(f"Run {settings.run} is already of this version: nothing to do")
        return
    show(f"Products of run {settings.run}", rows)
    if not done.accepted:
        print("They are of a version that cannot be taken over, or of rules whose products have changed since: these rules run again")
    print(f"Next: snakemake -n --configfile {config}, which lists what is made again")
