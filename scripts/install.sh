#!/bin/sh
# Create a lane's virtual environment: install.sh LANE VENV. Every failure ends in one clear sentence.
set -eu
lane=$1
venv=$2

python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Agora needs Python 3.11 or newer; install it (Debian: apt install python3 python3-venv) or name it with PYTHON=/path/to/python3." >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "$python has no venv module; install it (Debian: apt install python3-venv) and run make again." >&2
    exit 1
fi
case $lane in
pymongo | motor) ;;
*)
    echo "LANE is pymongo or motor, not '$lane'." >&2
    exit 1
    ;;
esac

echo "Installing Agora's packages into $venv (once)..."
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
$pip install -c "constraints/$lane.txt" -e ".[$lane]"

# The embedded database is optional: MONGODB_URI can point anywhere else. The pinned package comes first, then the newest.
[ -n "${MONGODB_URI:-}" ] && exit 0
if $pip install -c "constraints/$lane.txt" -e '.[embedded]' 2>/dev/null; then
    exit 0
fi
if $pip install --pre --upgrade SecantusDB 2>/dev/null; then
    echo "The pinned embedded server could not be installed; using $($pip show SecantusDB 2>/dev/null | sed -n 's/^Version: /SecantusDB /p')."
    exit 0
fi
echo "There is no embedded server for this platform: set MONGODB_URI to a MongoDB replica set, or run docker compose up." >&2
