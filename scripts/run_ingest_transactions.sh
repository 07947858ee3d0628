#!/usr/bin/env bash
# Load every pending transaction file: [--until T] [--replace] [--json]
exec "$(dirname "$0")/submit.sh" ingest_transactions "$@"
