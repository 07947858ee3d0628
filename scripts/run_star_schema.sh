#!/usr/bin/env bash
# Bring the star schema up to date: [--rebuild] [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" build_star_schema "$@"
