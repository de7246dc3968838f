"""The local web page of `mlv ui`: a server that reads folders of experiments, and writes nothing into them."""
