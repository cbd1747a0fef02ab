#!/usr/bin/env bash
# A disk image of the .app that build.py makes. Not tried yet on a Mac; the app is neither signed nor notarized.
set -euo pipefail
cd "$(dirname "$0")/../../.."
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp -R "dist/Model Loupe.app" "$stage/"
ln -s /Applications "$stage/Applications"
hdiutil create -volname "Model Loupe" -srcfolder "$stage" -ov -format ULFO dist/model-loupe-macos-arm64.dmg
