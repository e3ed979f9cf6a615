"""Certificates of people: who somebody is, the API server says; what they may do, its RBAC does."""
