"""Clients and finders to copy; they use nothing but what a user has."""
