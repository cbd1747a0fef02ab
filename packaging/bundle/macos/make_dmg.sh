#!/usr/bin/env bash
# A disk image of the .app that build.py makes. Never run: there was no Mac. The app is signed for this machine
# only (PyInstaller's ad-hoc signature) and not notarized: the first start needs "Open anyway" in the settings.
set -euo pipefail
cd "$(dirname "$0")/../../.."
[ -d "dist/Model Loupe.app" ] || { echo "dist/Model Loupe.app is missing: run packaging/bundle/build.py" >&2; exit 1; }
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
ditto "dist/Model Loupe.app" "$stage/Model Loupe.app" # keeps links and signatures
ln -s /Applications "$stage/Applications"
hdiutil create -volname "Model Loupe" -srcfolder "$stage" -ov -format ULFO "dist/model-loupe-macos-$(uname -m).dmg"
