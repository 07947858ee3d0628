#!/usr/bin/env bash
# Create or upgrade Bronze, the star schema and Gold; harmless on a warehouse in use.
# --reset destroys all three first, and asks for the name of Gold's database to be typed; --dry-run says what there is.
set -euo pipefail
if [[ " $* " == *" --reset "* && " $* " != *" --dry-run "* ]]; then
  echo "This deletes every table of Bronze, of the star schema and of Gold; the landing zone stays." >&2
  printf 'Type the name of the database (ecommerce_gold) to go on: ' >&2
  read -r name || true
  [ -t 0 ] || echo >&2
  if [ "${name:-}" != ecommerce_gold ]; then
    echo "setup: not confirmed, nothing was changed" >&2
    exit 2
  fi
fi
exec "$(dirname "$0")/submit.sh" init_warehouse "$@" </dev/null
