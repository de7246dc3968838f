"""What W&B's server gives out: charts and histories as tables, lists of runs, files of runs."""
