#!/usr/bin/env bash
# Build the image without a container engine and try it: a small study runs, and the relay reads nothing of the agent's.
#
#     apt-get install buildah debootstrap
#     docker/build-without-docker.sh [options of `buildah bud`]
#
# Behind a mirror of packages: --volume /etc/pip.conf:/etc/pip.conf:ro --build-arg TORCH_INDEX=https://mirror/whl/cpu
#
# Needs root, Debian, 8 GB of disk below WORK (default /var/tmp/fedsynth-image). The base is made by debootstrap from
# Debian's signed packages instead of the Python image; everything above it is docker/Dockerfile as it stands. WORK on a
# tmpfs (WORK=/dev/shm/fedsynth-image) saves most of the time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WORK=${WORK:-/var/tmp/fedsynth-image}
BASE=localhost/fedsynth-base:bookworm
IMAGE=localhost/fedsynth:0.1.0

engine() { buildah --root "$WORK/storage" --runroot "$WORK/run" --storage-driver vfs "$@"; }

make_base() {
    engine inspect --type image "$BASE" > /dev/null 2>&1 && return
    [[ -e $WORK/root/etc/debian_version ]] ||
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$WORK/root"
    ln -sf python3 "$WORK/root/usr/bin/python"
    local container
    container=$(engine from scratch)
    engine add "$container" "$WORK/root" /
    engine commit --rm "$container" "$BASE"
    rm -rf "$WORK/root"
}

# in_container ACCOUNT COMMAND...: run a command in the container under an account.
in_container() {
    local account=$1
    shift
    engine run --isolation chroot --user "$account" "$CONTAINER" -- "$@"
}

try_accounts() {
    in_container 10001:10001 sh -ec '
        umask 077
        mkdir /work/data
        printf "age,sex\n61,f\n58,m\n" > /work/data/patients.csv
        fedsynth site init /site/north --name north --data /work/data/patients.csv --declared-rows 100 --max-epsilon 3 \
            --node /work/node > /dev/null
        fedsynth site import --site /site/north > /dev/null'
    local files
    files=$(in_container 10001:10003 find /site /work/data /work/node -type f)
    # The agent's account reads every one of them, or a refusal below would prove nothing.
    in_container 10001:10003 sh -ec 'cat "$@" > /dev/null' sh $files
    in_container 10002:10003 python -c '
import os, sys
used = []
for path in sys.argv[1:]:
    try:
        open(path, "rb").close()
        used.append(path)
    except PermissionError:
        print(f"account {os.getuid()}: {path}: permission denied")
os.listdir("/run/fedsynth")  # where the socket of the agent is
try:
    open("/run/fedsynth/agent.sock", "wb").close()
    used.append("/run/fedsynth")
except PermissionError:
    print(f"account {os.getuid()}: cannot put a socket of its own into /run/fedsynth")
sys.exit(f"the relay can use {used}" if used else 0)' $files
}

mkdir -p "$WORK"
make_base
engine bud --isolation chroot --build-arg BASE="$BASE" --file docker/Dockerfile --tag "$IMAGE" "$@" .
CONTAINER=$(engine from "$IMAGE")
trap 'engine rm "$CONTAINER" > /dev/null' EXIT
in_container 10001:10001 fedsynth simulate --no-report --out /work/out/demo
in_container 10001:10001 sh -ec 'head -n 2 /work/out/demo/synthetic.csv'
try_accounts
echo "built $IMAGE: the study ran, and the relay's account reads nothing of the agent's"
