#!/bin/bash
# Build both images with docker or podman, whichever runs here, bring them up as compose.yaml does, and see that
# frames are scored and that both end in order.
#
#   make images   or: SECONDS_TO_RUN=60 tools/images.sh
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_TO_RUN:-20}

for engine in docker podman none; do
  if command -v $engine > /dev/null && $engine info > /dev/null 2>&1; then break; fi
done
if [ "$engine" = none ]; then
  echo "images: cannot be built here: neither docker nor podman runs" >&2
  exit 1
fi

name=ball-images-$$
secure=(--read-only --cap-drop ALL --security-opt no-new-privileges)
clean_up() {
  $engine rm --force $name-client $name-server > /dev/null 2>&1 || true
  $engine network rm $name > /dev/null 2>&1 || true
}
trap clean_up EXIT

for image in server client; do
  echo "building ball-$image with $engine"
  $engine build --file Dockerfile.$image --tag ball-$image .
done
$engine network create --internal $name > /dev/null
$engine run --detach --name $name-server --network $name --network-alias server "${secure[@]}" ball-server > /dev/null
# what the image's own command says, for a while
$engine run --name $name-client --network $name "${secure[@]}" ball-client \
  --signaling-host server --view web --http 0.0.0.0:8080 --duration "$seconds" | tee /dev/stderr \
  | grep --quiet --extended-regexp 'scored [1-9]'
$engine stop --time 10 $name-server > /dev/null
$engine logs $name-server | tail -n 20
[ "$($engine inspect --format '{{.State.ExitCode}}' $name-server)" = 0 ]
$engine images --format '{{.Repository}} {{.Size}}' | grep ball-
echo "images: both built, frames scored, both ended in order"
