"""Tools of coding agents: searches by the Model Context Protocol."""
