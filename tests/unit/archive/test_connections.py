"""Limits on connections, also where the file system has no locks."""

from __future__ import annotations

import errno
import fcntl
import logging
from pathlib import Path

import pytest

from smallmines.archive import connections
from smallmines.archive.providers import provider_of


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_there_is_one_warning_and_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(connections, "FOLDER", tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    connections._warn_once.cache_clear()
    provider = provider_of("dem", "aws")
    with caplog.at_level(logging.WARNING):
        for _ in range(provider.connections + 1):
            with connections.connection(provider), connections.connection(provider):
                pass
    assert [record.getMessage() for record in caplog.records] == [
        f"the file system of {tmp_path} has no locks ([Errno {number}] no locks here): connections to aws are not limited between jobs"
    ]


def test_a_busy_slot_is_left_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FOLDER", tmp_path)
    provider = provider_of("dem", "aws")
    with connections.connection(provider), connections.connection(provider):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["aws-1", "aws-2"]
