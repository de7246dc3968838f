"""What mlv costs, measured side by side with what one would write by hand: `python -m benchmarks`."""
