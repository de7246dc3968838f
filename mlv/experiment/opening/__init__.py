"""Making and opening experiments: ranks that meet, params, what is captured, and rewinding."""
