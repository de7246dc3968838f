"""Sweeps of wandb: what a config asks for, the points that agents try, and the agents.

A sweep is a folder of plain files beside the experiments of its project, `<project>/.wandb-sweeps/<id>`: `sweep.json`, and for
each point `points/<number>.json`, a lock that its agent holds, and `<number>.end.json` when it has ended.
"""
