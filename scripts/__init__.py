"""What a person starts by hand: the first look, and one wrapper a job for the cluster."""
