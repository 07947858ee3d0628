#!/usr/bin/env bash
# Facts, errors and re-decisions in Gold: [--until T] [--json]
exec "$(dirname "$0")/submit.sh" postgres_load_fact "$@"
