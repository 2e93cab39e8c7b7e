#!/usr/bin/env bash
# `make test`: every part in turn, each with the time it took; a part that fails does not hide the next one's result.
# Nothing is skipped: DIALPLANE_NO_SKIPS makes a skipped test a failed one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DIALPLANE_NO_SKIPS=1 DIALPLANE_EDGE_IMAGE=dialplane-edge DIALPLANE_MEDIA_IMAGE=dialplane-media DIALPLANE_NAMES_IMAGE=dialplane-names
export TESTCONTAINERS_RYUK_DISABLED=true DIALPLANE_EXAMPLES=everything
# From nothing: what another checkout left running goes. What was made here goes in the end; a stack that this checkout
# had before stays.
export DIALPLANE_FRESH=1
MADE_HERE=$([ -e .stack/ours ] || echo 1)
FAILED=() TOLD=()

tell() { # NAME SECONDS STATUS
  TOLD+=("$(printf '%-34s %4d s  %s' "$1" "$2" "$( (($3)) && echo "FAILED ($3)" || echo passed)")")
  (($3)) && FAILED+=("$1")
  return "$3"
}
part() { # NAME COMMAND...
  local name=$1 began=$SECONDS status=0
  shift
  printf '\n=== %s\n' "$name"
  "$@" || status=$?
  tell "$name" $((SECONDS - began)) "$status"
}
# Parts with servers of their own mostly wait: they go beside another part, in two lanes, and are told when that is over.
LANE=.stack/lane
beside() { # NAME COMMAND...
  local name=$1 began=$SECONDS status=0
  shift
  "$@" >"$LANE/$name" 2>&1 || status=$?
  echo "$((SECONDS - began)) $status $name" >>"$LANE/told"
}
tell_those_beside() { # HOW MANY
  local seconds status name
  wait
  (($(wc -l <"$LANE/told") == $1)) || FAILED+=("a part that went beside and told nothing")
  while read -r seconds status name; do
    printf '\n=== %s\n' "$name"
    cat "$LANE/$name"
    # compose.yaml runs these once more; the others tell it themselves (suite).
    [[ $name == "check under"* && $status == 0 ]] && grep -q "^--- what failed, once more" "$LANE/$name" &&
      echo "$name" >>.stack/again
    tell "$name" "$seconds" "$status"
  done <"$LANE/told"
}
# Tests on running servers. Other work on the machine can make one late: what failed is run once more, alone, and that is
# said at the end (AGAIN); what fails twice has failed.
suite() { # PYTEST-ARGUMENT...
  local cache status=0
  cache=.stack/cache/$(tr -c 'a-z_\n' . <<<"$*")
  .venv/bin/pytest -q --durations=5 -o cache_dir="$cache" "$@" || status=$?
  ((status == 1)) || return "$status"
  echo "--- what failed, once more"
  .venv/bin/pytest -q -rA -o cache_dir="$cache" --last-failed --last-failed-no-failures none --maxfail 1 "${@: -1}" || return
  echo "${@: -1}" >>.stack/again
}
# A second demonstration has a minute (the images are there), and all calls of its stories have to succeed.
demo() { timeout 60 make --no-print-directory demo; }
# `make down`, and nothing of ours is left.
down() {
  make --no-print-directory down || return
  local left
  left=$(docker ps --all --quiet --filter label=com.docker.compose.project=dialplane 2>/dev/null
    docker volume ls --quiet --filter label=com.docker.compose.project=dialplane 2>/dev/null
    docker network ls --quiet --filter label=com.docker.compose.project=dialplane 2>/dev/null
    docker image ls --quiet --filter label=org.dialplane.image 2>/dev/null
    ls -d .stack 2>/dev/null)
  [ -z "$left" ] || { printf 'left behind:\n%s\n' "$left"; return 1; }
}
# Tests of a media node mostly wait for telephones: three nodes, each in its own network, are done in a third of the time.
by_three() { suite -n 3 --dist loadfile "$@"; }
# Edges of tests have addresses of their own, too.
by_two() { suite -n 2 --dist loadfile "$@"; }

rm -rf .stack/again .stack/cache
part "Python environment" make --no-print-directory venv
# As a person runs it, while images are made; all examples and what takes seconds come with the newest Python, beside
# the servers.
rm -rf "$LANE" && mkdir -p "$LANE"
beside "check" env --unset DIALPLANE_EXAMPLES make --no-print-directory check &
STARTED=
part "stack" make --no-print-directory stack && STARTED=1
tell_those_beside 1
if [ "$STARTED" ]; then
  rm -rf "$LANE" && mkdir "$LANE"
  beside "edge" by_two tests/edge &
  {
    beside "contract: Kamailio and Asterisk" suite tests/contract
    beside "contract: calls" suite tests/contract_ami
    beside "contract: decisions" suite tests/contract_agi
    beside "contract: carriers" suite tests/contract_carriers
    beside "names" suite tests/names
    beside "image with the newest Python" docker compose --profile check --progress quiet build check
  } &
  part "media node" by_three tests/media
  tell_those_beside 7
  rm -rf "$LANE" && mkdir "$LANE"
  # Live tests mostly wait: what they leave of the processors is enough for this, and it gets no more (cpu_shares).
  beside "check under the newest Python" make --no-print-directory newest &
  part "live: the whole stack" suite tests/live
  tell_those_beside 1
  part "demo" demo
fi
AGAIN=$(cat .stack/again 2>/dev/null)
[ -z "$MADE_HERE" ] || part "down" down

printf '\n=== %s\n' "${TOLD[@]}" "all parts: $SECONDS s"
[ -z "$AGAIN" ] || printf '=== failed at first and passed alone, see above: %s\n' "$AGAIN"
if ((${#FAILED[@]})); then
  printf '=== failed: %s\n' "${FAILED[*]}"
  exit 1
fi
