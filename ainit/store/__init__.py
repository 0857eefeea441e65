"""Model admission: what may become a model of this machine, and proof of it at every boot."""
