#!/usr/bin/env bash
# Compact files, expire snapshots, archive resolved cases: [--json]
exec "$(dirname "$0")/submit.sh" maintain "$@"
