#!/usr/bin/env bash
# Compact files, expire snapshots, archive resolved cases: [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" maintain "$@"
