"""Media node alone: a real Asterisk in a container, an edge played by `peer.Edge`."""
