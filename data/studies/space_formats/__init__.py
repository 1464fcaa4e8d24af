"""Search spaces in the words of other tools, one module a tool."""
