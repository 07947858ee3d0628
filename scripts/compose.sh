#!/usr/bin/env bash
# Docker Compose on this project's file, as the plugin of Docker or as docker-compose: scripts/compose.sh ARGUMENTS…
set -euo pipefail
cd "$(dirname "$0")/.."
if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
if command -v docker-compose >/dev/null; then exec docker-compose "$@"; fi
echo "compose: neither 'docker compose' nor docker-compose is here: install Docker with its Compose plugin" >&2
exit 2
