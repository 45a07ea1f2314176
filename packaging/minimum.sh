#!/usr/bin/env bash
# Builds, installs and tests this tree with the oldest versions that pyproject.toml allows.
#
#   packaging/minimum.sh EXTRA [ARGUMENT FOR PYTEST ...]
#
# EXTRA is what is installed of the package: with test-core NumPy is the oldest, with test that of all others is the oldest.
# Needs uv, whose "lowest-direct" reads the versions where they stand, so that there is no second list of them.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:?EXTRA is missing: test-core or test}
shift
if [[ $extra == test-core ]]; then set -- --ignore-glob='*/test_bench_*' --ignore-glob='*/test_onnx*' "$@"; fi
venv=$(mktemp -d)
trap 'rm -rf "$venv" build/minimum' EXIT
uv venv --quiet --clear "$venv"
export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH

# What has no wheel for this Python cannot be had here: the oldest is then the first that has one.
install() { uv pip install --quiet --resolution lowest-direct --only-binary :all: "$@"; }
mapfile -t build < <(python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
install "${build[@]}" 'cmake>=3.20' ninja
install --no-build-isolation --no-binary normkernels --config-setting build-dir=build/minimum ".[$extra]"
uv pip list
# What the oldest of others call in the newest of others may be deprecated, such as matplotlib's parser.
python -m pytest -q -W ignore::DeprecationWarning "$@"
