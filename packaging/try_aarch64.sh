#!/usr/bin/env bash
# Installs an aarch64 wheel beside Debian's Python for arm64, in a folder of its own, and runs its self-check by qemu.
#
#   packaging/try_aarch64.sh WHEEL
#
# Needs Debian, root (for the list of arm64's packages) and qemu-user.
set -euo pipefail
wheel=$(realpath "$1")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cd "$root"

dpkg --add-architecture arm64
apt-get -qq update
packages=(libpython3.11-minimal libpython3.11-stdlib python3.11-minimal)                     # Python,
packages+=(libc6 libexpat1 libffi8 libgcc-s1 liblzma5 libbz2-1.0 libssl3 libstdc++6 zlib1g) # and what it is linked to
apt-get -qq download "${packages[@]/%/:arm64}"
for package in *.deb; do dpkg-deb -x "$package" .; done

platforms=(--platform manylinux_2_17_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64)
python3 -m pip install --quiet --target site --only-binary :all: --python-version 3.11 --implementation cp \
  "${platforms[@]}" "$wheel"
PYTHONPATH=$root/site qemu-aarch64 -L "$root" usr/bin/python3.11 -m normkernels
