#!/usr/bin/env bash
# Load every pending transaction file: [--from T] [--until T] [--replace] [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" ingest_transactions "$@"
