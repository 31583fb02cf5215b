#!/usr/bin/env bash
# The environment of the networks and the loaders from deep.lock: PyTorch, TerraTorch, transformers and TorchGeo beside the workflow's packages.
#
#   envs/setup-deep.sh          PyTorch for the CPU (2.8 GB) where a configured index or folder has such a wheel, else as `full`
#   envs/setup-deep.sh full     the whole lock (7 GB, PyTorch with CUDA)
#
# It lies in ${XDG_CACHE_HOME:-~/.cache}/smallmines, named after the lock, so that every clone uses it; .venv-deep leads there.
# smallmines itself is not in it: set PYTHONPATH=workflow. Needs .venv (make setup). Run again at will: what stands is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

cpu_torch=torch==2.13.0+cpu # its torchvision lacks compiled operators: envs/torchvision_operators.py
cache=${XDG_CACHE_HOME:-$HOME/.cache}/smallmines
hash=$({ cat envs/deep.lock envs/torchvision_operators.py && echo "$cpu_torch" && .venv/bin/python --version --version; } | sha256sum | cut -c1-12)
light=$cache/deep-cpu-$hash full=$cache/deep-full-$hash

make_in() { # folder, arguments of `pip install`; the stamp says that it is complete
  [ ! -e "$1/complete" ] || return 0
  .venv/bin/python -m venv --clear "$1"
  "$1/bin/python" envs/install.py "${@:2}" || return 1
  if [ "$1" = "$light" ]; then
    packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp envs/torchvision_operators.py "$packages/"
    echo "import torchvision_operators" >"$packages/torchvision_operators.pth"
  fi
  touch "$1/complete"
}

mkdir -p "$cache"
exec 9>"$cache/deep.lock" # one clone at a time
flock 9
chosen=$full
if [ "${1:-}" != full ] && [ ! -e "$full/complete" ]; then
  [ -e "$light/complete" ] || echo "Setting up $light from envs/deep.lock with $cpu_torch (2.8 GB)" >&2
  grep -vE '^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==' envs/deep.lock >"$light.txt"
  echo "$cpu_torch" >>"$light.txt"
  if make_in "$light" --no-deps -r "$light.txt"; then chosen=$light; else echo "no wheel of $cpu_torch is to be had here" >&2; fi
fi
if [ "$chosen" = "$full" ]; then
  [ -e "$full/complete" ] || echo "Setting up $full from envs/deep.lock (about 5 minutes and 7 GB, PyTorch with CUDA)" >&2
  make_in "$full" -r envs/deep.lock
fi
[ ! -d .venv-deep ] || [ -L .venv-deep ] || rm -rf .venv-deep
ln -sfn "$chosen" .venv-deep
echo "deep: $chosen"
