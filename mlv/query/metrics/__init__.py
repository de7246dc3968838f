"""Lines of metrics as columns: parsed, kept in the cache, chosen, and made into data frames."""
