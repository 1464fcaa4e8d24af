"""Studies of a server, with the methods of local ones."""
