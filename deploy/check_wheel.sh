#!/usr/bin/env bash
# Install the wheel in DIST with the runtime lock LOCK, and nothing else, in a new environment; then run it from elsewhere.
# Usage: deploy/check_wheel.sh DIST LOCK. Proves that the package carries its data and names all it needs.
set -euo pipefail
dist=$(cd "$1" && pwd) lock=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT

.venv/bin/python -m venv "$away/venv"
pip=("$away/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --require-hashes --no-deps -r "$lock"
"${pip[@]}" install --quiet --no-deps --no-index "$dist"/*.whl
"${pip[@]}" check
cd "$away"
"$away/venv/bin/elo" --version
"$away/venv/bin/elo" --help >/dev/null
"$away/venv/bin/python" -m pipeline --version
"$away/venv/bin/python" - <<'PYTHON'
import importlib
import json
import pkgutil
from importlib.resources import files

packages = ("pipeline", "connectors", "schemas")
modules = [module.name for name in packages
           for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}.")]
for module in modules:
    if not module.endswith("__main__"):
        importlib.import_module(module)
registry = files("schemas").joinpath("registry.json")
json.loads(registry.read_text(encoding="utf-8"))
schemas = [path for folder in files("schemas").iterdir() if folder.is_dir() for path in folder.iterdir()
           if path.name.endswith(".avsc")]
assert schemas, "the wheel carries no schema"
assert files("pipeline").joinpath("defaults", "identity.yaml").is_file(), "the wheel lacks the shipped identity policy"
print(f"{len(modules)} modules import, {len(schemas)} schemas and the shipped policy are there")
PYTHON
