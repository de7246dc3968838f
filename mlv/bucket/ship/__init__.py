"""The steps of shipping one experiment, each a room: `mlv.bucket.shipper` puts them in order."""
