#!/bin/sh
# Builds otbApplication, the Python API of Orfeo ToolBox, for one Python (default: .venv), from the sources of the
# distribution's own OTB package. Debian and Ubuntu leave it out of their packages. Downloads about 700 MB, once.
#
#   envs/build-otb-python.sh [PYTHON]
#
# Installs the packages swig, libotb-dev, a compiler and the headers of Python where they are missing (as root or through sudo),
# and writes otbApplication.py and _otbApplication.so into that Python's site-packages. apt's configuration stays as it
# is: the deb-src entries are made from it in a temporary folder.
set -eu

python=${1:-.venv/bin/python}
[ -x "$(command -v "$python")" ] || {
    echo "expected  a Python at $python; found none; run: make setup" >&2
    exit 1
}

case $python in # absolute, since this script changes folders; not resolved, since that would leave the virtual environment
*/*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;;
esac

if "$python" -c 'import otbApplication' 2>/dev/null; then
    echo "otbApplication is already there: $("$python" -c 'import otbApplication; print(otbApplication.__file__)')"
    exit 0
fi

headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
packages="swig libotb-dev g++ dpkg-dev"
[ -f "$headers/Python.h" ] || packages="$packages python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev"
missing=
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        root=
    elif sudo -n true 2>/dev/null; then
        root=sudo
    else
        echo "expected  the packages$missing; found neither them nor the right to install them; run: sudo apt-get install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # words are meant
    echo "installing$missing"
    $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing >/dev/null
fi
version=$(dpkg-query -W -f='${source:Version}' libotb-dev)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/sources.list.d" "$work/lists/partial" "$work/cache/archives/partial"

# The machine's own repositories (one-line lists and deb822 files) as sources, with their mirrors and keys.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$list" ] || continue
    sed -n 's/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' "$list" | sort -u >"$work/sources.list.d/$(basename "$list" .list).list"
done
for list in /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources.list.d/$(basename "$list")"
done
apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources.list.d" \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" "$@"
}
echo "fetching the sources of OTB $version (about 700 MB)"
apt update
(cd "$work" && apt source --download-only "otb=$version")
archive=$(find "$work" -maxdepth 1 -name 'otb_*.orig.tar.*' ! -name '*.asc')
tar -xf "$archive" -C "$work" --wildcards '*Modules/Wrappers/SWIG/src/*'
rm "$archive"

include() { # the newest folder of headers of that name
    find /usr/include /usr/local/include -maxdepth 1 -name "$1-*" 2>/dev/null | sort -V | tail -n 1
}
itk=$(include ITK)
otb=$(include OTB)
api=${otb##*-}
cd "$(dirname "$(find "$work" -name otbApplication.i)")"
echo "wrapping and compiling"
# -flatstaticmethod: without it the module made by SWIG 4.1 and newer fails on import.
swig -c++ -python -flatstaticmethod -DOTB_SWIGNUMPY=1 -I. -Ipython "-I$itk" "-I$otb" -o wrap.cxx otbApplication.i
numpy=$("$python" -c 'import numpy; print(numpy.get_include())')
gdal=$(gdal-config --cflags)
# shellcheck disable=SC2086 # words are meant
g++ -shared -fPIC -O1 -std=c++14 -w -I. -Ipython "-I$itk" "-I$otb" "-I$headers" "-I$numpy" $gdal wrap.cxx python/*.cxx -o _otbApplication.so \
    "-lOTBApplicationEngine-$api" "-lOTBCommon-$api" "-lOTBImageBase-$api" "-lOTBMetadata-$api"
module=$(find . -name otbApplication.py | head -n 1)
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
install -m 644 "$module" "$site/otbApplication.py"
install -m 755 _otbApplication.so "$site/_otbApplication.so"
cd /
"$python" -c 'import otbApplication; print("built", otbApplication.__file__)'
