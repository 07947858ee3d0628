#!/usr/bin/env bash
# Refresh what is typical of each product, by all sales until now, or until T: [--until T] [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" refresh_baselines "$@"
