"""Many experiments: families, numbers over their members, tables and plots."""
