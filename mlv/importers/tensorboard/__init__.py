"""Event files of TensorBoard: their records, all of them, and what they become."""
