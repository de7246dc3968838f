"""Reading experiments back."""
