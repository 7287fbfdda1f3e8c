# What images.sh needs where the world is small: a store and settings of its own, and a stand-in for the base image.
# shellcheck shell=bash disable=SC2034  # pip_settings is for who sources this

# Use a store of images and settings below $LAB; sets pip_settings, what a build needs to reach this host's packages.
settings() {
  export CONTAINERS_STORAGE_CONF=$LAB/storage.conf CONTAINERS_CONF=$LAB/containers.conf
  mkdir -p "$LAB/storage" "$LAB/runroot"
  cat > "$LAB/storage.conf" << END
[storage]
driver = "overlay"
graphroot = "$LAB/storage"
runroot = "$LAB/runroot"
END
  cat > "$LAB/containers.conf" << END
[containers]
default_ulimits = []
[engine]
runtime = "runc-bare"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
runc-bare = ["$LAB/runc-bare"]
[network]
network_backend = "netavark"
END
  # a root that is itself in a container may not raise limits: runc is started without any
  cat > "$LAB/runc-bare" << 'END'
#!/bin/bash
bundle=. before=
for argument; do
  case $before in --bundle | -b) bundle=$argument ;; esac
  before=$argument
done
if [ -f "$bundle/config.json" ]; then
  bare=$(jq 'del(.process.rlimits, .process.oomScoreAdj)' "$bundle/config.json") && echo "$bare" > "$bundle/config.json"
fi
exec runc "$@"
END
  chmod +x "$LAB/runc-bare"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 180\n' > "$LAB/pip.conf"
  pip_settings=(--volume "$LAB/pip.conf:/etc/pip.conf:ro"
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro)
}

# have_base IMAGE, such as python:3.13-slim-trixie: pull it if it is not in the store; else put a stand-in together.
have_base() {
  local image=docker.io/library/$1
  buildah inspect --type image "$image" > /dev/null 2>&1 && return
  timeout 60 buildah pull "$image" > /dev/null 2>&1 && return
  echo "no $1 to be had: a stand-in is made of Debian packages and of this host's CPython"
  make_base "$1" > "$LAB/base.log" 2>&1 || {
    tail "$LAB/base.log"
    return 1
  }
}

# make_base IMAGE: Debian of the image's suite, with the libraries that CPython needs, and a CPython of the same
# minor version that pyenv built on this host. It differs from the official image in CPython's patch level and
# build, and is larger by some 60 MB.
make_base() (
  set -euo pipefail
  suite=${1##*-}
  version=$(sed -E 's/.*:([0-9]+\.[0-9]+).*/\1/' <<< "$1")
  python=$(find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -maxdepth 1 -name "$version.*" | sort --version-sort | tail -1)
  tree=$LAB/rootfs-$1
  rm -rf "$tree"
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$tree"
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale > "$tree/etc/dpkg/dpkg.cfg.d/slim"
  rm -f "$tree/etc/apt/sources.list" "$tree/etc/resolv.conf"
  # this host's own sources, for that suite
  ours=$(grep -rlE '^Suites: *[a-z]+ [a-z]+-updates' /etc/apt/sources.list.d/*.sources | head -1)
  of=$(sed -nE 's/^Suites: *([a-z]+) .*/\1/p' "$ours" | head -1)
  sed -E "/^Suites:/s/\b$of/$suite/g; /^#/d" "$ours" > "$tree/etc/apt/sources.list.d/debian.sources"
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  chroot "$tree" sh -ec 'apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends netbase tzdata libbz2-1.0 \
      libexpat1 libffi8 liblzma5 libncursesw6 libnsl2 libreadline8t64 libsqlite3-0 libssl3t64 libuuid1 zlib1g
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log /usr/share/man/* /usr/share/locale/*
    find /usr/share/doc -type f -delete'
  for folder in bin lib include; do
    tar -C "$python" --exclude='*/test' --exclude='*/tests' --exclude=__pycache__ --exclude='site-packages/*' \
      --exclude='*.a' --exclude='idle*' -cf - $folder | tar -C "$tree/usr/local" -xf - --no-same-owner
  done
  bin=$tree/usr/local/bin site=lib/python$version/site-packages
  cp -a "$python/$site"/pip "$python/$site"/pip-*.dist-info "$tree/usr/local/$site/"
  find "$bin" ! -type d ! -name "python$version" -delete
  printf '#!/bin/sh\nexec python3 -m pip "$@"\n' > "$bin/pip"
  chmod +x "$bin/pip"
  ln -s "python$version" "$bin/python3"
  chroot "$tree" ldconfig
  chroot "$tree" python3 -c 'import bz2, ctypes, lzma, sqlite3, ssl, zlib'
  : > "$tree/etc/resolv.conf"
  new=$(buildah from scratch)
  cp -a "$tree/." "$(buildah mount "$new")/"
  buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 --cmd python3 "$new"
  buildah umount "$new"
  buildah commit --quiet --rm "$new" "docker.io/library/$1"
)
