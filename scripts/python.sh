#!/usr/bin/env bash
# Makes the Python environment that a requirements file describes (by default that of examples/ag2_worker, which the tests
# run), and prints the path of its Python. Does nothing
# else where the same requirements are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=${1:-examples/ag2_worker/requirements.txt}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
environment=$cache/python-$(sha256sum "$requirements" | cut -c1-12)
mkdir -p "$cache"
# Tests run beside each other; one makes it, and the others wait.
exec 9>"$environment.lock"
flock 9
if [ ! -e "$environment/done" ]; then
  echo "python: installing into $environment" >&2
  rm -rf "$environment"
  if ! { python3 -m venv "$environment" && "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; } >&2; then
    rm -rf "$environment"
    echo "python: it cannot be installed: python3 with venv (3.10 or newer; python3-venv on Debian) and a package index are needed" >&2
    exit 1
  fi
  touch "$environment/done"
fi
echo "$environment/bin/python"
