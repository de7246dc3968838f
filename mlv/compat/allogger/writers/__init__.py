"""Writers of the user's: further files made from the log, beside those for TensorBoard and HDF5.

    class Lines(AbstractWriter):
        def add_scalar(self, key, value, step):
            with open(f"{self.output_dir}/lines.txt", "a") as file:
                print(key, step, value, file=file)

    allogger.basic_configure(logdir="log", default_outputs=["hdf", "lines"], writers={"lines": Lines})

A writer lives in a process of its own, which follows the log: it costs the training nothing, is completed after a kill, and
one that raises costs the log nothing. Its class stands in a module that can be imported, or `cloudpickle` is installed.
"""

from mlv.compat.allogger.writers.abstract_writer import AbstractWriter
from mlv.compat.allogger.writers.filewriter import FileWriter
from mlv.compat.allogger.writers.hdfwriter import HDFWriter
from mlv.compat.allogger.writers.tensorboardwriter import TensorboardWriter

__all__ = ["AbstractWriter", "FileWriter", "HDFWriter", "TensorboardWriter"]
