#!/usr/bin/env bash
# Docker Compose on this project's file, as the plugin of Docker or as docker-compose: scripts/compose.sh ARGUMENTS…
# The profile `scheduler` is on where neither the environment nor .env says anything of profiles.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${COMPOSE_PROFILES+said}" ] || grep -qs '^COMPOSE_PROFILES=' .env || export COMPOSE_PROFILES=scheduler
if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
if command -v docker-compose >/dev/null; then exec docker-compose "$@"; fi
echo "compose: neither 'docker compose' nor docker-compose is here: install Docker with its Compose plugin" >&2
exit 2
