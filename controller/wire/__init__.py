"""Sockets and bytes: AMI, JSON-RPC, files. No policy."""
