"""Media: what the training process hands over raw, and how a worker of the writer makes files of it."""
