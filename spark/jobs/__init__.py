"""One file a job: read, decide, write."""
