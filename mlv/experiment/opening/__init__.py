"""Making and opening experiments: the rendezvous of ranks, params, captures, and rewinding."""
