#!/usr/bin/env bash
# Compact files and expire snapshots: [--json]
exec "$(dirname "$0")/submit.sh" maintain "$@"
