#!/bin/bash
# Build both images, run them as two containers on a network of their own, and tell what came of it.
#
#   make images               or: tools/images.sh
#   LOSS=5% tools/images.sh   the server's container loses so many UDP packets, each way
#   KEEP=1 tools/images.sh    leave the images, ball-server and ball-client, in the store
#
# The containers run as they do on Kubernetes (k8s/): a read-only root without /tmp, no capabilities, no new
# privileges; and their network has no way out. Needs root. Where no registry of images is in reach, the base
# image is put together from Debian packages (base_image.sh).
# On Debian: apt-get install podman buildah runc debootstrap netavark aardvark-dns nftables iptables jq iproute2
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
export LAB=${LAB:-${TMPDIR:-/tmp}/ball-images} # images and settings; they stay for the next run
run_s=20                                       # that the client runs
max_mb=450                                     # the server's image

missing=()
for tool in podman buildah runc netavark nft jq ip nsenter; do
  PATH=$PATH:/usr/lib/podman command -v $tool > /dev/null || missing+=("$tool")
done
[ $UID = 0 ] || missing+=("root")
if [ ${#missing[@]} != 0 ]; then
  echo "images: not checked, missing: ${missing[*]}"
  exit 0
fi

passed=0 failed=0
ok() { passed=$((passed + 1)) && echo "PASS $*"; }
bad() { failed=$((failed + 1)) && echo "FAIL $*"; }
check() { # check TEXT COMMAND...
  local text=$1 && shift
  if "$@"; then ok "$text"; else bad "$text"; fi
}
image() { podman inspect --type image --format "$1" "$2"; }
megabytes() { echo $(($(image '{{.Size}}' "$1") / 1000000)); }
container() { podman inspect --type container --format "$1" "$2"; }
until_true() { # until_true SECONDS COMMAND...
  local end=$(($(date +%s) + $1)) && shift
  until "$@"; do [ "$(date +%s)" -lt $end ] || return 1 && sleep 0.2; done
}

# shellcheck source=tools/base_image.sh
source "$here/base_image.sh"
mkdir -p "$LAB"
settings

# --- Build -----------------------------------------------------------------------------------------------------

base=$(sed -n 's/^FROM //p' "$root"/Dockerfile.* | sort -u)
have_base "$base"
for name in server client; do
  if buildah bud --isolation chroot --network host --pull-never --layers --format docker "${pip_settings[@]}" \
    --file "$root/Dockerfile.$name" --tag "localhost/ball-$name" "$root" > "$LAB/build-$name.log" 2>&1; then
    ok "$name built: $(megabytes localhost/ball-$name) MB, of which $(megabytes "$base") are $base"
  else
    tail -20 "$LAB/build-$name.log"
    bad "$name built" && exit 1
  fi
  check "$name runs as a user without rights" [ "$(image '{{.Config.User}}' localhost/ball-$name)" = 10001:10001 ]
done
check "server below $max_mb MB" [ "$(megabytes localhost/ball-server)" -lt $max_mb ]

# --- Run -------------------------------------------------------------------------------------------------------

net=ball-$$
server=$net-server client=$net-client early=$net-early
ip netns add $net
ip -n $net link set lo up
inside() { nsenter --net=/run/netns/$net "$@"; }
clean_up() {
  inside podman rm --force --ignore --time 2 $server $client $early > /dev/null 2>&1 || true
  inside podman network rm $net > /dev/null 2>&1 || true
  ip netns del $net
  [ -n "${KEEP:-}" ] || podman rmi localhost/ball-server localhost/ball-client > /dev/null 2>&1 || true
}
trap clean_up EXIT
inside podman network create --internal $net > /dev/null 2>&1
start() { # start CONTAINER HOSTNAME IMAGE ARGUMENTS...
  local name=$1 host=$2 image=$3 && shift 3
  inside podman run --detach --name "$name" --hostname "$host" --network $net --network-alias "$host" \
    --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges \
    "localhost/$image" "$@" 2>&1 > /dev/null | grep --invert-match -E 'healthcheck|syslog' >&2 || true # those need systemd
}
check_stop() { # check_stop TEXT CONTAINER
  local before ms status
  before=$(date +%s%3N)
  inside podman stop --time 10 "$2" > /dev/null 2>&1
  ms=$(($(date +%s%3N) - before))
  status=$(container '{{.State.ExitCode}}' "$2")
  check "$1: exit status $status after $ms ms" [ "$status:$((ms < 2000))" = 0:1 ]
}
ask() { # ask CONTAINER PATH
  podman exec "$1" python3 -c "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8080$2').read().decode())" 2> /dev/null
}
answers() { ask "$@" > /dev/null; }
ended() { [ "$(container '{{.State.Running}}' "$1")" = false ]; }

for name in server client; do
  start $early early ball-$name
  sleep 0.3 # in the middle of the imports
  check_stop "$name stopped during its imports" $early
  podman rm $early > /dev/null 2>&1
done

start $server server ball-server
check "server says that it is ready" until_true 30 answers $server /readyz
check "the image's health check agrees" podman healthcheck run $server
if [ -n "${LOSS:-}" ]; then
  share=$(awk -v loss="${LOSS%\%}" 'BEGIN { print int(loss * 100) }')
  nsenter --net="/proc/$(container '{{.State.Pid}}' $server)/ns/net" nft --file - << END
table inet loss {
  chain in { type filter hook input priority 0; meta l4proto udp udp sport != 53 numgen random mod 10000 < $share drop; }
  chain out { type filter hook output priority 0; meta l4proto udp udp dport != 53 numgen random mod 10000 < $share drop; }
}
END
  ok "server's container loses $LOSS of its UDP packets, each way"
fi
mapfile -t arguments < <(image '{{json .Config.Cmd}}' localhost/ball-client | jq --raw-output '.[]')
# shellcheck disable=SC2086  # CLIENT_ARGS are words
start $client client ball-client ${CLIENT_ARGS-"${arguments[@]}"} --duration $run_s
check "client answers on /healthz" until_true 30 answers $client /healthz
check "client ended" until_true $((run_s + 30)) ended $client
check "client's exit status is 0" [ "$(container '{{.State.ExitCode}}' $client)" = 0 ]
podman logs $client > "$LAB/client.log" 2>&1
grep scored "$LAB/client.log" || cat "$LAB/client.log"
check "client's log has frames scored" grep --quiet --extended-regexp 'scored [1-9]' "$LAB/client.log"
ask $server /metrics > "$LAB/metrics.txt"
grep -E '^ball_(frames|error_pixels_(sum|count)|latency_seconds_(sum|count))' "$LAB/metrics.txt"
check "server's metrics have frames scored" grep --quiet 'ball_frames_total{state="scored"} [1-9]' "$LAB/metrics.txt"
check_stop "server stopped" $server
podman logs $server > "$LAB/server.log" 2>&1
check "server's log has no warning" [ -z "$(grep -E 'WARNING|ERROR|Traceback' "$LAB/server.log")" ]
check "client's log has no warning" [ -z "$(grep -E 'WARNING|ERROR|Traceback' "$LAB/client.log")" ]

echo "logs: $LAB; $passed passed, $failed failed"
[ $failed = 0 ]
