"""The gRPC service over search and records."""
