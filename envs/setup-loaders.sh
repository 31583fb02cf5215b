#!/usr/bin/env bash
# The environment of the loaders, .venv-loaders, from loaders.lock: PyTorch, TorchGeo and TerraTorch beside the workflow's packages.
# Needs .venv (make setup) for its Python. Run again at will: what stands is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv-loaders/made-from
wanted=$(.venv/bin/python -c 'import hashlib, sys; print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest(), sys.version.split()[0])' envs/loaders.lock pyproject.toml)
if [ ! -x .venv-loaders/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  printf '%s\n' "Setting up .venv-loaders from envs/loaders.lock (about 5 minutes and 7 GB, PyTorch with CUDA)" >&2
  .venv/bin/python -m venv --clear .venv-loaders
  .venv-loaders/bin/python -m pip install --quiet --disable-pip-version-check -r envs/loaders.lock 2> >(grep -v '^WARNING: Location' >&2)
  .venv-loaders/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  printf '%s\n' "$wanted" >"$stamp"
fi
