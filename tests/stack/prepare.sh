#!/usr/bin/env bash
# Makes a machine able to run the stack, and says what it does:
#
#   tests/stack/prepare.sh            everything below
#   tests/stack/prepare.sh up         the same, then builds the images and starts compose.yaml, phones included
#   tests/stack/prepare.sh venv       only the Python environment (.venv), for `make check`
#   tests/stack/prepare.sh remove     undo: the images it made, the engine it started, .stack
#
# Each step looks first and acts only on what is missing. With a Docker engine and the compose plugin in place
# it needs no root and installs nothing; without them it installs Debian's packages, as root, on Debian 12 or 13.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

STACK=.stack
BASE=debian:forky-slim      # the first Debian release with Kamailio 6.1 and Asterisk 22
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
LABEL=org.dialplane.made-by=prepare
LOG=$STACK/prepare.log
BEGAN=$SECONDS

say() { printf '[%3d s] %s\n' $((SECONDS - BEGAN)) "$*"; }
die() { say "$1" >&2; shift; printf '        %s\n' "$@" >&2; exit 1; }

# run LABEL COMMAND...: the command's output goes to the log; every 10 s a line says that it still works.
run() {
  local label=$1 began=$SECONDS pid shown=10 status=0
  shift
  say "$label"
  printf '\n### %s\n' "$label" >>"$LOG"
  "$@" >>"$LOG" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - began >= shown)); then
      say "  ... still at it: $(tail -n 1 "$LOG" | tr -d '\r' | cut -c 1-80)"
      shown=$((shown + 10))
    fi
  done
  wait "$pid" || status=$?
  if ((status)); then
    say "failed ($status): $label; the end of $LOG:" >&2
    tail -n 15 "$LOG" | sed 's/^/        /' >&2
  fi
  return "$status"
}

is_root() { [ "$(id -u)" = 0 ]; }
need_root() {
  is_root && command -v apt-get >/dev/null && return
  die "$1 is missing, and installing it needs root on Debian 12 or 13." \
    "Run this as root, or install $1 by hand ($2), then start again."
}
engine_up() { docker info >/dev/null 2>&1; }

lists_fresh=
lists() {
  [ -z "$lists_fresh" ] || return 0
  run "Reading Debian's package lists" apt-get update || say "  some list failed; going on with those at hand"
  lists_fresh=1
}

# Debian's packages come from where this machine's apt has them; apt names it only once it has read its lists.
MIRROR=${DIALPLANE_MIRROR:-}
mirror() {
  [ -z "$MIRROR" ] || return 0
  lists
  MIRROR=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 'debian/\?$') ||
    die "apt on this machine names no Debian archive." "Name one: DIALPLANE_MIRROR=http://deb.debian.org/debian"
}

install() { # REASON PACKAGE...
  local reason=$1
  shift
  lists
  run "Installing $* ($reason)" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$@"
  printf '%s\n' "$@" >>"$STACK/installed"
}

wait_engine() { # SECONDS
  for _ in $(seq $(($1 * 5))); do
    engine_up && return
    sleep 0.2
  done
  return 1
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    run "Starting the Docker engine (systemd)" systemctl start docker
    wait_engine 30 && return
    die "The Docker engine does not answer." "Look at: journalctl -u docker"
  fi
  say "Starting the Docker engine (no systemd here, so as a process of its own)"
  local file pid
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    # A killed engine leaves its pid file; the number may belong to another process by now.
    pid=$(cat "$file" 2>/dev/null || true)
    [ -n "$pid" ] && ! grep -qE '^(dockerd|containerd)' "/proc/$pid/comm" 2>/dev/null && rm -f "$file"
  done
  setsid nohup dockerd >"$STACK/dockerd.log" 2>&1 </dev/null &
  echo $! >"$STACK/dockerd.pid"
  wait_engine 40 && return
  die "The Docker engine did not start; the end of $STACK/dockerd.log:" "$(tail -n 8 "$STACK/dockerd.log")"
}

engine() {
  if engine_up; then
    say "Docker engine $(docker version --format '{{.Server.Version}}'): already running"
    return
  fi
  if command -v docker >/dev/null && ! is_root && [ -S /var/run/docker.sock ]; then
    die "A Docker engine is there, but $(id -un) may not use it." \
      "Put the user into the group: adduser $(id -un) docker; then log in again."
  fi
  if ! command -v dockerd >/dev/null; then
    need_root "The Docker engine" "Debian's docker.io, or docs.docker.com/engine/install"
    local packages=(docker.io iptables ca-certificates)
    # From Debian 13 on the client is a package of its own.
    if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    install "the stack runs in containers" "${packages[@]}"
  fi
  wait_engine 2 && return
  is_root || die "The Docker engine does not run, and starting it needs root."
  start_engine
  say "Docker engine $(docker version --format '{{.Server.Version}}'): running"
}

# Debian 12 ships compose 1; the plugin of Debian 13 runs there too. apt checks its signature as ever.
compose_from_trixie() {
  local work
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  echo "deb [signed-by=$KEYRING] $MIRROR trixie main" >"$work/trixie.list"
  local apt=(apt-get -o "Dir::Etc::SourceList=$work/trixie.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
    -o Acquire::Languages=none)
  "${apt[@]}" update
  (cd "$work" && "${apt[@]}" download docker-compose)
  dpkg-deb -x "$work"/docker-compose_*.deb "$work/root"
  local found
  found=$(find "$work/root" -type f -name docker-compose -path '*cli-plugins*' | head -n 1)
  [ -n "$found" ]
  install -D -m 755 "$found" "$HOME/.docker/cli-plugins/docker-compose"
  rm -rf "$work"
}

compose() {
  if docker compose version >/dev/null 2>&1; then
    say "Docker compose $(docker compose version --short): already there"
    return
  fi
  need_root "Docker compose 2" "package docker-compose of Debian 13, or docker-compose-plugin of Docker"
  if [ "$(. /etc/os-release && echo "${VERSION_ID:-0}")" -ge 13 ] 2>/dev/null; then
    install "runs compose.yaml" docker-compose
  else
    mirror
    run "Fetching Debian 13's docker-compose into ~/.docker/cli-plugins (this Debian has only version 1)" \
      bash -ec "$(declare -f compose_from_trixie); unset -f install; MIRROR=$MIRROR KEYRING=$KEYRING; compose_from_trixie"
    echo "$HOME/.docker/cli-plugins/docker-compose" >>"$STACK/files"
  fi
  docker compose version >/dev/null || die "Docker compose does not run."
}

make_base() {
  local work script
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  script=sid # an older debootstrap does not know forky by name; sid's script makes the same
  [ -e /usr/share/debootstrap/scripts/forky ] && script=forky
  debootstrap --variant=minbase --keyring="$KEYRING" --include=ca-certificates forky "$work/root" \
    "$MIRROR" "$script"
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* \
    "$work"/root/usr/share/doc/* "$work"/root/usr/share/man/* "$work"/root/usr/share/locale/*
  tar -C "$work/root" -c . | docker import --change "LABEL $LABEL" --change 'CMD ["bash"]' - "$BASE"
}

base() {
  if docker image inspect "$BASE" >/dev/null 2>&1; then
    say "Base image $BASE: already there"
    return
  fi
  if run "Pulling the base image $BASE (up to 60 s, then it is made here)" timeout 60 docker pull -q "$BASE" 2>/dev/null; then
    touch "$STACK/pulled-base"
    return
  fi
  need_root "The base image $BASE" "docker pull $BASE; no registry is within reach now"
  command -v debootstrap >/dev/null || install "makes the base image" debootstrap
  mirror
  run "No registry within reach: making $BASE from Debian's packages" \
    bash -ec "$(declare -f make_base); MIRROR=$MIRROR KEYRING=$KEYRING BASE=$BASE LABEL=$LABEL; make_base"
}

# A host behind a TLS-inspecting proxy has extra CAs; an image build that runs pip must know them.
cas() {
  mkdir -p "$STACK/ca"
  rm -f "$STACK"/ca/*.crt
  : >"$STACK/ca/README" # COPY wants at least one file
  find -L /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$STACK/ca/" \; 2>/dev/null || true
  chmod -R u=rwX,go=rX "$STACK/ca"
  local count
  count=$(find "$STACK/ca" -name '*.crt' | wc -l)
  ((count == 0)) || say "Image builds trust this host's $count extra CA(s)"
}

SECRETS=(owner admin controller agent dns fraud)
secrets() {
  local name made=0
  mkdir -p -m 700 "$STACK/secrets"
  for name in "${SECRETS[@]}"; do
    [ -s "$STACK/secrets/$name" ] && continue
    (umask 077 && head -c 24 /dev/urandom | base64 | tr -d '+/=\n' >"$STACK/secrets/$name")
    made=1
  done
  ((made == 0)) || say "Made random database passwords in $STACK/secrets (${SECRETS[*]})"
}

python() {
  local candidate
  for candidate in "${DIALPLANE_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

venv() {
  local wanted found
  wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
  if [ "$(cat .venv/.dialplane 2>/dev/null)" = "$wanted" ]; then
    say "Python environment .venv: up to date"
    return
  fi
  found=$(python)
  if [ -z "$found" ]; then
    need_root "Python 3.11 or newer" "package python3"
    install "runs dialplane and its tests" python3 python3-venv
    found=python3
  fi
  if [ ! -x .venv/bin/python ]; then
    if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
      need_root "Python's venv module" "package python3-venv"
      install "Python environments" python3-venv
    fi
    run "Making the Python environment .venv ($("$found" --version))" "$found" -m venv .venv
    touch "$STACK/made-venv"
  fi
  # pip 25.1 is the first to know dependency groups.
  run "Installing dialplane and its development tools into .venv" bash -ec '
    .venv/bin/python -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
    .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -e . --group dev'
  echo "$wanted" >.venv/.dialplane
}

# A stack left by another checkout has a database whose passwords are not ours. Its containers name their checkout.
ours() {
  local made_in
  # Images have the project's label too, and so has a container that a test made of one.
  made_in=$(docker ps --all --filter label=com.docker.compose.project=dialplane \
    --filter label=com.docker.compose.project.working_dir \
    --format '{{.Label "com.docker.compose.project.working_dir"}}' | sort -u)
  [ -e "$STACK/ours" ] && { [ -z "$made_in" ] || [ "$made_in" = "$PWD" ]; }
}

alone() {
  if ! ours && [ -n "$(docker volume ls --quiet --filter name=^dialplane_postgres$)" ]; then
    [ "${DIALPLANE_FRESH:-}" = 1 ] || die "Another checkout's stack is on this machine." \
      "'make down' there removes it; DIALPLANE_FRESH=1 removes it, data included, from here."
    run "Removing the stack of another checkout" \
      docker compose --profile '*' down --volumes --remove-orphans --timeout 3
  fi
  touch "$STACK/ours"
}

up() {
  alone
  run "Building the images" docker compose --profile calls --progress plain build
  if ! run "Starting the stack" docker compose --profile calls --progress plain up --detach --wait --wait-timeout 120; then
    docker compose ps --all >&2
    die "The stack is not healthy." "Look at: docker compose logs SERVICE"
  fi
}

remove() {
  local pid image
  if engine_up; then
    if docker compose version >/dev/null 2>&1 && [ -d "$STACK/secrets" ]; then
      docker compose --profile '*' down --volumes --remove-orphans --timeout 3
    fi
    for image in $(docker image ls --filter label=org.dialplane.image --filter 'reference=dialplane-*' --quiet | sort -u); do
      docker image rm -f "$image" >/dev/null 2>&1 || say "Image $image stays: another container runs it"
    done
    docker image prune -f --filter label=org.dialplane.image >/dev/null
    if [ "$(docker image ls --quiet --filter "label=$LABEL" "$BASE")" ] || [ -e "$STACK/pulled-base" ]; then
      docker image rm "$BASE" >/dev/null || say "The image $BASE stays: something else stands on it"
    fi
    say "Containers, networks, volumes and images of dialplane are gone"
  fi
  if pid=$(cat "$STACK/dockerd.pid" 2>/dev/null) && grep -q '^dockerd' "/proc/$pid/comm" 2>/dev/null; then
    if [ -z "$(docker ps -q)" ]; then
      kill "$pid"
      say "Stopped the Docker engine that was started here"
    else
      say "The Docker engine started here stays: it runs other containers"
    fi
  fi
  if [ -e "$STACK/files" ]; then xargs -r rm -f <"$STACK/files"; fi
  if [ -e "$STACK/installed" ]; then
    say "Debian packages installed for this stay; to remove them too: apt-get purge --autoremove" \
      "$(sort -u "$STACK/installed" | tr '\n' ' ')"
  fi
  if [ -e "$STACK/made-venv" ]; then rm -rf .venv; fi
  rm -rf "$STACK"
  say "Done"
}

mkdir -p "$STACK"
chmod 700 "$STACK"
case "${1:-all}" in
  all | up)
    engine
    compose
    base
    cas
    secrets
    venv
    if [ "${1:-all}" = up ]; then up; fi
    say "Ready"
    ;;
  venv) venv ;;
  remove) remove ;;
  *) die "unknown word: $1" "Words: all, up, venv, remove" ;;
esac
