#!/usr/bin/env bash
# Prepares a checkout: system libraries that Qt lacks, a virtual environment, the Python packages.
# Usage: packaging/set_up.sh [run|test]. Safe to call again: it does only what is missing, and says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."

purpose=${1:-run}
venv=.venv
stamp="$venv/.ready-$purpose"

say() { printf '==> %s\n' "$*"; }
fail() { printf 'Model Loupe cannot be set up: %s\n' "$*" >&2; exit 1; }

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed. On Debian or Ubuntu: sudo apt-get install python3 python3-venv"
}

# A library Qt opens at start, and the package that brings it.
qt_libraries="
libEGL.so.1 libegl1
libGL.so.1 libgl1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxkbcommon.so.0 libxkbcommon0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xfixes.so.0 libxcb-xfixes0
libxcb-xkb.so.1 libxcb-xkb1
libX11-xcb.so.1 libx11-xcb1
libwayland-cursor.so.0 libwayland-cursor0
"

missing_packages() {
    local known library package
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    while read -r library package; do
        [ -z "$library" ] || grep -qF "$library " <<<"$known" || echo "$package"
    done <<<"$qt_libraries"
    # Qt draws empty boxes where the machine has no font at all.
    [ -n "$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        \( -name '*.ttf' -o -name '*.otf' \) -print -quit 2>/dev/null)" ] || echo fonts-dejavu-core
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

install_system_packages() {
    [ "$(uname -s)" = Linux ] || return 0
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "${packages// /}" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "These libraries seem to be missing; install them with your package manager: $packages"
        return 0
    fi
    local as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "these packages are missing and there is no sudo; ask for them to be installed: $packages"
        as_root=sudo
    fi
    say "Installing system packages${as_root:+ (sudo may ask for your password)}: $packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # one word a package
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

python=$(find_python)
install_system_packages
if [ ! -x "$venv/bin/python" ]; then
    say "Making a virtual environment in $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    what=.
    [ "$purpose" = run ] || what=".[$purpose]"
    say "Installing Python packages (the first time takes some minutes)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$what"
    touch "$stamp"
fi
