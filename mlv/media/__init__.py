"""Media: values that the training process hands over raw, and that a worker of the writer turns into files."""
