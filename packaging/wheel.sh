#!/usr/bin/env bash
# Builds a manylinux wheel of this tree, for this or another processor, into a folder.
#
#   packaging/wheel.sh [x86_64|aarch64] [FOLDER]
#
# Needs pip, and what packaging/requirements.txt names. Not Docker: zig brings the old glibc that else an image would.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
arch=${1:-x86_64}
out=${2:-dist}
glibc=2.17
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT

# This machine's interpreter is asked for headers and ABI, which are the same for both processors but for these names.
export _PYTHON_HOST_PLATFORM=linux-$arch
suffix=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
ZIG=$(python3 -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')/zig
export ZIG
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1700000000)}

python3 -m pip wheel --quiet --no-deps --wheel-dir "$raw" "$root" \
  --config-settings=cmake.define.CMAKE_TOOLCHAIN_FILE="$root/packaging/zig.cmake" \
  --config-settings=cmake.define.NORMKERNELS_ZIG_TARGET="$arch-linux-gnu.$glibc" \
  --config-settings=cmake.define.PYTHON_MODULE_EXTENSION="${suffix/x86_64/$arch}"
# auto: the oldest that the symbols allow, which is the glibc above.
python3 -m auditwheel repair --plat auto --wheel-dir "$out" "$raw"/*.whl
