#!/usr/bin/env bash
# Create (or bring up to date) the virtual environment VENV from the lock file LOCK and install this project in it.
# Usage: deploy/install.sh VENV LOCK. PYTHON names the interpreter to use; without it the first fitting one is taken.
# Every package is checked against the hashes in the lock. Nothing outside VENV is changed, except package caches.
set -euo pipefail
venv=$1 lock=$2

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  local name
  if [[ -n ${PYTHON:-} ]]; then
    fits "$PYTHON" || { echo "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13: name another one." >&2; return 1; }
    echo "$PYTHON"; return
  fi
  for name in python3 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null && fits "$name"; then echo "$name"; return; fi
  done
  local found="no python3 was found"
  if command -v python3 >/dev/null; then found="python3 is $(python3 --version 2>&1)"; fi
  echo "Elo needs Python 3.11, 3.12 or 3.13, and $found: install one, or name it, as in PYTHON=/path/to/python3.12 make install." >&2
  return 1
}

# A venv whose interpreter is gone or too old is made anew.
if [[ ! -x $venv/bin/python ]] || ! fits "$venv/bin/python"; then
  python=$(find_python)
  echo "==> $venv with $("$python" --version)"
  rm -rf "$venv"
  "$python" -m venv "$venv" || {
    rm -rf "$venv"
    echo "$python cannot create virtual environments: install its venv package (on Debian and Ubuntu: python3-venv)." >&2
    exit 1
  }
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check)

# uv only makes it faster. It comes from the same lock, and where it fails pip does all of it.
awk '/^[^ #]/ { wanted = /^uv==/ } wanted' "$lock" >"$venv/uv.lock"
echo "==> $(grep -c '^[a-z].*==' "$lock") packages from $lock"
if "${pip[@]}" install --quiet --require-hashes --no-deps -r "$venv/uv.lock" &&
   "$venv/bin/uv" pip sync --python "$venv/bin/python" --require-hashes "$lock"; then
  :
else
  echo "==> uv could not do it, so pip does (slower)"
  "${pip[@]}" install --require-hashes --no-deps -r "$lock"
fi
# The build backend is in the lock too, so nothing is fetched for the project itself.
"${pip[@]}" install --quiet --no-deps --no-build-isolation -e .
echo "==> installed: $("$venv/bin/python" --version), elo $("$venv/bin/python" -c 'import pipeline; print(pipeline.__version__)')"
# Optional: where it cannot be compiled the same sources run as plain Python. Both ways one line is printed.
"$venv/bin/python" deploy/compile_core.py || true
