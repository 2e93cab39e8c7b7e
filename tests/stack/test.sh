#!/usr/bin/env bash
# `make test`: every part in turn, each with the time it took; a part that fails does not hide the next one's result.
# Nothing is skipped: DIALPLANE_NO_SKIPS makes a skipped test a failed one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DIALPLANE_NO_SKIPS=1 DIALPLANE_EDGE_IMAGE=dialplane-edge DIALPLANE_MEDIA_IMAGE=dialplane-media
export TESTCONTAINERS_RYUK_DISABLED=true
# From nothing: what another checkout left running goes.
export DIALPLANE_FRESH=1
FAILED=() TOLD=()

part() { # NAME COMMAND...
  local name=$1 began=$SECONDS status=0
  shift
  printf '\n=== %s\n' "$name"
  "$@" || status=$?
  TOLD+=("$(printf '%-34s %4d s  %s' "$name" $((SECONDS - began)) "$( ((status)) && echo "FAILED ($status)" || echo passed)")")
  ((status)) && FAILED+=("$name")
  return "$status"
}
suite() { .venv/bin/pytest -q --durations=5 "$@"; }
shown() { # PID LOG: the end of a part that ran meanwhile
  local status=0
  wait "$1" || status=$?
  cat "$2"
  return "$status"
}

part "check" make --no-print-directory check
if part "stack" make --no-print-directory stack; then
  # Servers of their own, mostly waiting for each other: these go at the same time as those of the edge.
  suite tests/edge >.stack/edge.log 2>&1 &
  EDGE=$!
  part "check under the newest Python" make --no-print-directory newest
  part "contract: Kamailio and Asterisk" suite tests/contract
  part "contract: calls" suite tests/contract_ami
  part "contract: decisions" suite tests/contract_agi
  part "media node" suite tests/media
  part "edge (since the stack stands)" shown "$EDGE" .stack/edge.log
  part "live: the whole stack" suite tests/live
fi

printf '\n=== %s\n' "${TOLD[@]}" "all parts: $SECONDS s"
if ((${#FAILED[@]})); then
  printf '=== failed: %s\n' "${FAILED[*]}"
  exit 1
fi
