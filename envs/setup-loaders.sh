#!/usr/bin/env bash
# The environment of the loaders' tests from loaders.lock: PyTorch, TorchGeo and TerraTorch beside the workflow's packages.
#
#   envs/setup-loaders.sh          PyTorch for the CPU (2.8 GB) where a configured index or folder has such a wheel, else as `full`
#   envs/setup-loaders.sh full     the whole lock (7 GB, PyTorch with CUDA)
#
# It lies in ${XDG_CACHE_HOME:-~/.cache}/smallmines, named after the lock, so that every clone uses it; .venv-loaders leads there.
# smallmines itself is not in it: set PYTHONPATH=workflow. Needs .venv (make setup). Run again at will: what stands is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

cpu_torch=torch==2.13.0+cpu # its torchvision lacks compiled operators: tests/loaders/torchvision_operators.py
cache=${XDG_CACHE_HOME:-$HOME/.cache}/smallmines
hash=$(.venv/bin/python -c 'import hashlib, sys; print(hashlib.sha256(open("envs/loaders.lock", "rb").read() + " ".join(sys.argv[1:]).encode() + sys.version.encode()).hexdigest()[:12])' "$cpu_torch")
light=$cache/loaders-cpu-$hash full=$cache/loaders-full-$hash

make_in() { # folder, arguments of `pip install`; the stamp says that it is complete
  [ ! -e "$1/complete" ] || return 0
  .venv/bin/python -m venv --clear "$1"
  "$1/bin/python" envs/install.py "${@:2}" || return 1
  touch "$1/complete"
}

mkdir -p "$cache"
exec 9>"$cache/loaders.lock" # one clone at a time
flock 9
chosen=$full
if [ "${1:-}" != full ] && [ ! -e "$full/complete" ]; then
  [ -e "$light/complete" ] || echo "Setting up $light from envs/loaders.lock with $cpu_torch (2.8 GB)" >&2
  grep -vE '^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==' envs/loaders.lock >"$light.txt"
  echo "$cpu_torch" >>"$light.txt"
  if make_in "$light" --no-deps -r "$light.txt"; then chosen=$light; else echo "no wheel of $cpu_torch is to be had here" >&2; fi
fi
if [ "$chosen" = "$full" ]; then
  [ -e "$full/complete" ] || echo "Setting up $full from envs/loaders.lock (about 5 minutes and 7 GB, PyTorch with CUDA)" >&2
  make_in "$full" -r envs/loaders.lock
fi
[ ! -d .venv-loaders ] || [ -L .venv-loaders ] || rm -rf .venv-loaders
ln -sfn "$chosen" .venv-loaders
echo "loaders: $chosen"
