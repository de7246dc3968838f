"""Importers: experiments that other tools recorded, as items for the engine in `mlv.experiment.importing`."""
