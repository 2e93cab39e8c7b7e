"""Who is served where: accounts over clusters, calls over media nodes, and what that does at scale. Pure."""
