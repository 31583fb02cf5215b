#!/usr/bin/env bash
# The environment of `make bench-chain`: .venv-bench, which sees the packages of .venv, so that all chains use the same versions, and has
# those of envs/bench.txt. Needs .venv (make setup). Run again at will: what stands is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(cat envs/bench.txt requirements.lock | sha256sum)
[ "$(cat .venv-bench/made-from 2>/dev/null)" != "$wanted" ] || exit 0
echo "Setting up .venv-bench from envs/bench.txt" >&2
rm -rf .venv-bench
.venv/bin/python -m venv .venv-bench
.venv-bench/bin/python envs/install.py --no-deps -r envs/bench.txt
packages='import sysconfig; print(sysconfig.get_paths()["purelib"])'
.venv/bin/python -c "$packages" >"$(.venv-bench/bin/python -c "$packages")/lock.pth" # last: its uv has no program here
printf '%s\n' "$wanted" >.venv-bench/made-from
