"""Runs exchanges on Kubernetes: observes, plans, acts."""
