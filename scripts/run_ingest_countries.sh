#!/usr/bin/env bash
# Load every pending country snapshot: [--until T] [--replace] [--json]
exec "$(dirname "$0")/submit.sh" ingest_countries "$@"
