"""Studies over HTTP: a server that many machines share."""
