#!/usr/bin/env bash
# Facts, errors and re-decisions in Gold: [--from T] [--until T] [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" postgres_load_fact "$@"
