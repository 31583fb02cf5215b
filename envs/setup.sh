#!/usr/bin/env bash
# Everything `make` needs before its first job: the virtual environment .venv from requirements.lock, and Orfeo ToolBox.
# Run again at will: what stands is left alone. Changes the system only to install python3-venv and otb-bin where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

install_packages() { # with the system's package manager, as root or through sudo; else say the command and stop
  local as_root=()
  if ! command -v apt-get >/dev/null; then
    say "expected  $* installed"
    say "found     neither it nor apt-get on this system"
    say "do        install it (Orfeo ToolBox: see envs/README.md; set OTB_ROOT to its folder) and run make again"
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      say "expected  $* installed"
      say "found     it is missing, and this user may not install it"
      say "do        ask an administrator for:  apt-get update && apt-get install --yes --no-install-recommends $*"
      exit 1
    fi
  fi
  say "Installing $* with apt-get"
  "${as_root[@]}" apt-get update -q=2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --yes --no-install-recommends "$@" >/dev/null
}

python=
for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  say "expected  Python 3.11 or newer"
  say "found     $(python3 --version 2>&1 || true)"
  say "do        install it, or name it: make PYTHON=/path/to/python3.11 …"
  exit 1
fi

stamp=.venv/made-from
wanted=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest(), sys.version.split()[0])' requirements.lock pyproject.toml)
make_venv=
[ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || make_venv=yes
if [ -n "$make_venv" ]; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages "$(basename "$(readlink -f "$(command -v "$python")")")-venv"
fi

otb=
if ! command -v otbcli_MeanShiftSmoothing >/dev/null && [ ! -x "${OTB_ROOT:-/nowhere}/bin/otbcli_MeanShiftSmoothing" ]; then
  install_packages otb-bin & # beside the Python packages
  otb=$!
fi

if [ -n "$make_venv" ]; then
  say "Setting up .venv with $("$python" --version) from requirements.lock (about a minute and 1.6 GB)"
  "$python" -m venv --clear .venv
  .venv/bin/python envs/install.py -r requirements.lock
  .venv/bin/python envs/install.py --no-deps --no-build-isolation -e .
  printf '%s\n' "$wanted" >"$stamp"
fi
[ -z "$otb" ] || wait "$otb"
