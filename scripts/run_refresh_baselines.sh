#!/usr/bin/env bash
# Refresh what is typical of each product, by all sales until now: [--json]
exec "$(dirname "$0")/submit.sh" refresh_baselines "$@"
