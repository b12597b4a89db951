"""The operations, each beside its derivative."""
