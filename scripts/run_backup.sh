#!/usr/bin/env bash
# Dump Gold and the metastore, while no job writes, to a folder of their own in /backups: [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" backup "$@"
