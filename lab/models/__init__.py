"""Networks as pure functions of flat parameter vectors, and the architectures of the catalogue."""
